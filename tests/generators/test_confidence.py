"""Each confidence against its formula, written out in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import pytest

from resgen_jax.core import keys
from resgen_jax.generators import choices, confidence, proposals
from resgen_jax.processes import rvq_masking

KNOBS = proposals.Knobs(guidance_scale=1.0, temperature=1.0, top_k=0, top_p=1.0, noise_scale=1.0)


@pytest.fixture(scope="module")
def outputs(tiny):
    random = np.random.default_rng(0)
    states = jnp.asarray(random.normal(0, 0.3, (4, 6, 8)), jnp.float32)
    return proposals.Outputs(tiny.network, tiny.params, states, tiny.codebooks)


# Those whose heads the tiny network has.
OF_TINY = [name for name, kind in choices.PROPOSALS.items() if kind.heads <= {"mixture", "codes"}]


@pytest.fixture(scope="module")
def is_masked():
    hidden = np.random.default_rng(1).integers(0, 4, (4, 6))
    hidden[:, 0] = 3
    return rvq_masking.mask_from_num_hidden(jnp.asarray(hidden), 3)


@pytest.fixture(scope="module")
def drawn(tiny, outputs, is_masked):
    """Draws and scores of each proposal and confidence that go together."""
    row_keys = keys.example_keys(jax.random.key(7), jnp.arange(4))

    @jax.jit
    def run(params):
        now, found = outputs._replace(params=params), {}
        for name, kind in confidence.KINDS.items():
            for proposal, propose in proposals.KINDS.items():
                if not (choices.go_together(proposal, name) and proposal in OF_TINY):
                    continue
                draw = propose(row_keys, now, tiny.codes, is_masked, KNOBS, kind.quantize(1))
                found[proposal, name] = draw, kind.measure(now, draw)
        return found, now.mixture(), now.code_logits()

    return run(tiny.params)


def distances(tiny, start, is_masked, codes, log_scale, positions):
    """Log-probability of each masked code, its level's softmax written out."""
    expected = np.zeros(codes.shape)
    for row, position in positions:
        residual = np.asarray(start[row, position], np.float64)
        for level in np.flatnonzero(is_masked[row, position]):
            book = np.asarray(tiny.codebooks[level], np.float64)
            squared = ((residual - book) ** 2).sum(-1)
            share = numpy_networks.softmax(-squared / (2 * np.exp(2 * log_scale[row, position])))
            code = codes[row, position, level]
            assert code == squared.argmin()
            expected[row, position, level] = np.log(share[code])
            residual = residual - book[code]
    return expected


def test_component_and_density_read_the_mixture_at_the_draw(drawn):
    found, (density, basis), _ = drawn
    draw, score = found["mixture", "component"]
    log_prior = np.log(numpy_networks.softmax(np.asarray(density.component_logits)))
    component = np.asarray(draw.sample.component)
    chosen = np.take_along_axis(log_prior, component[..., None], -1)
    np.testing.assert_allclose(score, np.broadcast_to(chosen, score.shape), rtol=1e-3, atol=1e-4)
    draw, score = found["mixture", "density"]
    scale = np.exp(np.asarray(density.log_scale, np.float64))
    means = np.einsum("mcr,blmr->blmc", basis.weight, density.factors) + np.asarray(basis.bias)
    means = scale[..., None, None] * means + np.asarray(density.shift)[:, :, None]
    squared = ((np.asarray(draw.sample.vector)[:, :, None] - means) ** 2).sum(-1)
    each = -squared / (2 * scale[..., None] ** 2) - 2 * np.log(2 * np.pi * scale[..., None] ** 2)
    expected = np.log(np.exp(each + log_prior).sum(-1))[..., None]
    np.testing.assert_allclose(score, np.broadcast_to(expected, score.shape), rtol=1e-2, atol=1e-2)


def test_distance_is_the_softmax_of_the_distances_at_every_level(tiny, drawn, is_masked):
    found, (density, _), _ = drawn
    draw, score = found["mixture", "distance"]
    everywhere = np.argwhere(np.asarray(is_masked).any(-1))
    expected = distances(
        tiny,
        draw.sample.vector,
        np.asarray(is_masked),
        np.asarray(draw.codes),
        np.asarray(density.log_scale, np.float64),
        everywhere,
    )
    np.testing.assert_allclose(
        np.asarray(score)[is_masked], expected[is_masked], rtol=1e-3, atol=1e-3
    )
    assert np.ptp(np.asarray(score)[is_masked]) > 0.1
    # The same codes as without the probabilities.
    np.testing.assert_array_equal(draw.codes, found["mixture", "component"][0].codes)


def test_guided_distance_is_the_code_heads_at_its_level(tiny, drawn, is_masked):
    found, (density, _), logits = drawn
    draw, score = found["guided", "distance"]
    is_masked, codes = np.asarray(is_masked), np.asarray(draw.codes)
    is_first = is_masked & (np.cumsum(is_masked, axis=-1) == 1)
    head = np.log(numpy_networks.softmax(np.asarray(logits, np.float64)))
    head = np.take_along_axis(head, codes[..., None], -1)[..., 0]
    np.testing.assert_allclose(np.asarray(score)[is_first], head[is_first], rtol=1e-4, atol=1e-4)
    level = is_masked.argmax(-1)
    first = np.take_along_axis(codes, level[..., None], -1)[..., 0]
    start = np.asarray(draw.sample.vector) - np.asarray(tiny.codebooks)[level, first]
    is_rest = is_masked & ~is_first
    expected = distances(
        tiny,
        start,
        is_rest,
        codes,
        np.asarray(density.log_scale, np.float64),
        np.argwhere(is_rest.any(-1)),
    )
    np.testing.assert_allclose(np.asarray(score)[is_rest], expected[is_rest], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("proposal", OF_TINY)
def test_code_head_is_the_log_probability_of_each_code(drawn, is_masked, proposal):
    found, _, logits = drawn
    draw, score = found[proposal, "code_head"]
    head = np.log(numpy_networks.softmax(np.asarray(logits, np.float64)))
    expected = np.take_along_axis(head, np.asarray(draw.codes)[..., None], -1)[..., 0]
    np.testing.assert_allclose(
        np.asarray(score)[is_masked], expected[is_masked], rtol=1e-4, atol=1e-4
    )


def test_random_asks_nothing(drawn):
    found, _, _ = drawn
    assert not np.any(found["mixture", "random"][1])
    assert not np.any(found["codes", "random"][1])
