"""What each proposal draws: the code head's law, and the mixture given a code."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import pytest

from resgen_jax.core import keys
from resgen_jax.distributions import low_rank_mixture as mixture
from resgen_jax.generators import proposals
from resgen_jax.quantizers import rvq

NUM_DRAWS = 4000
KNOBS = proposals.Knobs(guidance_scale=1.0, temperature=1.0, top_k=0, top_p=1.0, noise_scale=1.0)


@pytest.fixture(scope="module")
def outputs(tiny):
    """The same hidden states in every row, so that rows are draws."""
    states = np.random.default_rng(0).normal(0, 0.3, (1, 6, 8))
    states = jnp.asarray(np.repeat(states, NUM_DRAWS, axis=0), jnp.float32)
    return proposals.Outputs(tiny.network, tiny.params, states, tiny.codebooks)


@pytest.fixture(scope="module")
def is_masked():
    mask = np.array([[1, 1, 1], [0, 1, 1], [0, 0, 1], [0, 0, 0], [1, 0, 1], [0, 1, 0]], bool)
    return jnp.broadcast_to(jnp.asarray(mask), (NUM_DRAWS, 6, 3))


@pytest.fixture(scope="module")
def propose(outputs, is_masked):
    row_keys = keys.example_keys(jax.random.key(3), jnp.arange(NUM_DRAWS))
    codes = jnp.full((NUM_DRAWS, 6, 3), 5, jnp.int32)

    def run(name, codebooks=outputs.codebooks, **knobs):
        @jax.jit
        def draw(params, codebooks):
            now = outputs._replace(params=params, codebooks=codebooks)
            rule = proposals.KINDS[name]
            quantize = rvq.encode_masked_with_log_prob
            return rule(row_keys, now, codes, is_masked, KNOBS._replace(**knobs), quantize)

        return draw(outputs.params, codebooks)

    return run


@pytest.fixture(scope="module")
def head(outputs):
    """The code head's probabilities "l q v"."""
    return numpy_networks.softmax(np.asarray(outputs.code_logits()[0], np.float64))


def shares(codes):
    return (np.asarray(codes)[..., None] == np.arange(7)).mean(0)


def test_codes_follow_the_code_head_and_known_ones_stay(propose, head, is_masked):
    codes = np.asarray(propose("codes").codes)
    masked = np.asarray(is_masked[0])
    np.testing.assert_allclose(shares(codes)[masked], head[masked], atol=0.03)
    assert np.all(codes[:, ~masked] == 5)
    # Levels are drawn each by itself: the joint law is the product.
    joint = np.zeros((7, 7))
    np.add.at(joint, (codes[:, 0, 0], codes[:, 0, 1]), 1 / NUM_DRAWS)
    np.testing.assert_allclose(joint, np.outer(head[0, 0], head[0, 1]), atol=0.03)


def test_codes_read_temperature_top_k_and_top_p(propose, head, is_masked):
    masked = np.asarray(is_masked[0])
    best = head.argmax(-1)[masked]
    for knobs in ({"temperature": 0.0}, {"top_k": 1}, {"top_p": 0.0}):
        assert np.all(np.asarray(propose("codes", **knobs).codes)[:, masked] == best), knobs
    kept = np.sort(head, -1)[..., -3:-2]
    two = np.asarray(propose("codes", top_k=3).codes)
    assert np.all(np.take_along_axis(head[None], two[..., None], -1)[:, masked] >= kept[masked])


@pytest.mark.parametrize("name", ["codes", "guided", "mixture"])
def test_what_fills_a_codebook_up_is_never_drawn(tiny, propose, is_masked, name):
    sizes = (7, 4, 2)
    books = rvq.stack([tiny.codebooks[level, :size] for level, size in enumerate(sizes)])
    draw = propose(name, codebooks=books)
    codes = np.asarray(draw.codes)[:, np.asarray(is_masked[0]).any(-1)]
    masked = np.asarray(is_masked[0])[np.asarray(is_masked[0]).any(-1)]
    for level, size in enumerate(sizes):
        found = codes[:, masked[:, level], level]
        assert found.max() == size - 1
    if draw.sample is not None:
        assert np.all(np.abs(draw.sample.vector) < 100)


def test_guided_draws_the_shallowest_masked_level_from_the_code_head(propose, head, is_masked):
    codes = np.asarray(propose("guided").codes)
    masked = np.asarray(is_masked[0])
    for position in np.flatnonzero(masked.any(-1)):
        level = masked[position].argmax()
        found = shares(codes)[position, level]
        np.testing.assert_allclose(found, head[position, level], atol=0.03)
    assert np.all(codes[:, ~masked] == 5)


def test_guided_vectors_are_near_the_code_and_leave_the_last_level_nothing(
    tiny, propose, is_masked
):
    draw = propose("guided")
    codes, vectors = np.asarray(draw.codes), np.asarray(draw.sample.vector)
    books = np.asarray(tiny.codebooks)
    # The last level alone, and one in the middle with none below it: the vector is the code's.
    np.testing.assert_allclose(vectors[:, 2], books[2][codes[:, 2, 2]], atol=1e-5)
    np.testing.assert_allclose(vectors[:, 5], books[1][codes[:, 5, 1]], atol=1e-5)
    # Two levels: the second is the nearest code to what the first left.
    left = vectors[:, 1] - books[1][codes[:, 1, 1]]
    nearest = ((left[:, None] - books[2]) ** 2).sum(-1).argmin(-1)
    np.testing.assert_array_equal(codes[:, 1, 2], nearest)
    # Whatever the mixture says, the draw lies closer to its code than a free draw does.
    density, basis = draw.density, draw.basis
    row_keys = keys.example_keys(jax.random.key(8), jnp.arange(NUM_DRAWS))
    free = np.asarray(jax.jit(mixture.sample)(row_keys, density, basis).vector[:, 1])
    apart = ((free - books[1][codes[:, 1, 1]]) ** 2).sum(-1).mean()
    assert (left**2).sum(-1).mean() < 0.7 * apart


def test_guided_without_chance_is_the_posterior_mean_of_the_likeliest(tiny, propose, is_masked):
    draw = propose("guided", temperature=0.0, noise_scale=0.0)
    density = jax.tree.map(lambda leaf: np.asarray(leaf[0], np.float64), draw.density)
    weight, bias = (np.asarray(table, np.float64) for table in draw.basis)
    books, masked = np.asarray(tiny.codebooks, np.float64), np.asarray(is_masked[0])
    codes = np.asarray(draw.codes[0])
    for position, rest in ((0, [1, 2]), (1, [2]), (4, [2])):
        first = masked[position].argmax()
        below = books[rest]
        target = books[first, codes[position, first]] + below.mean(axis=1).sum(axis=0)
        variance = below.var(axis=1).mean(axis=-1).sum()
        scale = np.exp(density.log_scale[position])
        means = np.einsum("mcr,mr->mc", weight, density.factors[position]) + bias
        means = scale * means + density.shift[position]
        squared = ((means - target) ** 2).sum(-1)
        score = density.component_logits[position] - squared / 2 / (scale**2 + variance)
        mean = means[score.argmax()]
        expected = (variance * mean + scale**2 * target) / (scale**2 + variance)
        np.testing.assert_allclose(draw.sample.vector[0, position], expected, rtol=1e-3, atol=1e-3)
