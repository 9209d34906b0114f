"""Laws of the level head: exact probabilities, no sight of finer levels, and draws by its law."""

import dataclasses
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, keys, spaces
from resgen_jax.generators import confidence, level_head, proposals, resgen, resgen_sampler
from resgen_jax.quantizers import rvq

NUM_DRAWS = 4000


@pytest.fixture(scope="module")
def small(tiny):
    """A level head on two positions of depth 2 and 3 codes, its parameters far from their start."""
    space = spaces.image_codes((1, 2), depth=2, codebook_size=3, code_dim=2, num_classes=5)
    spec = dataclasses.replace(
        tiny.spec, head="levels", levels=level_head.Spec(width=4, num_blocks=1), has_code_head=False
    )
    network = resgen.make(spec, space)
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    params = jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.7, leaf.shape), jnp.float32), shapes
    )
    codebooks = jnp.asarray(random.normal(0, 1, (2, 3, 2)), jnp.float32)
    states = jnp.asarray(random.normal(0, 1, (1, 2, tiny.spec.trunk.width)), jnp.float32)
    return network, params, codebooks, states, space


@pytest.fixture(scope="module")
def nll(small):
    network, params, codebooks, states, _ = small

    def run(codes, states=states):
        codes = jnp.asarray(codes, jnp.int32)
        rows = jnp.broadcast_to(states, (len(codes), *states.shape[1:]))
        return network.apply(params, rows, codes, codebooks, method="level_nll")

    return jax.jit(run)


def all_stacks():
    """Every stack of two levels of three codes, the same at both positions."""
    stacks = np.array(list(itertools.product(range(3), repeat=2)))
    return np.repeat(stacks[:, None], 2, axis=1)


def test_the_probabilities_of_all_stacks_add_up_to_one(nll):
    total = np.exp(-np.asarray(nll(all_stacks()), np.float64).sum(-1)).sum(0)
    np.testing.assert_allclose(total, [1, 1], rtol=1e-5)


def test_it_begins_as_a_gaussian_around_what_coarser_codes_leave_of_one_estimate(small):
    network, _, codebooks, states, _ = small
    params = network.init(jax.random.key(3))
    codes = jnp.asarray([[[0, 1], [2, 0]]], jnp.int32)
    found = network.apply(params, states, codes, codebooks, method="level_nll")
    estimate = params["levels"]["estimate"]
    books = np.asarray(codebooks, np.float64)
    kernel = np.asarray(estimate["kernel"], np.float64)
    left = np.asarray(states, np.float64) @ kernel + np.asarray(estimate["bias"], np.float64)
    for level in range(2):
        scale = np.sqrt(np.mean(books[level] ** 2))
        gaps = (left[..., None, :] - books[level]) / scale
        logits = -0.5 * level_head.FIRST_SHARPNESS * (gaps**2).sum(-1)
        log_prob = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
        chosen = np.asarray(codes[..., level])
        expected = -np.take_along_axis(log_prob, chosen[..., None], -1)[..., 0]
        np.testing.assert_allclose(found[..., level], expected, rtol=1e-4)
        left = left - books[level][chosen]


def test_a_level_sees_the_coarser_codes_of_its_own_position_alone(nll):
    base = nll([[[0, 1], [2, 0]]])
    finer = nll([[[0, 2], [2, 0]]])
    np.testing.assert_array_equal(finer[..., 0], base[..., 0])
    coarser = nll([[[1, 1], [2, 0]]])
    assert abs(coarser[0, 0, 1] - base[0, 0, 1]) > 1e-3
    np.testing.assert_array_equal(coarser[0, 1], base[0, 1])


def test_noise_on_the_coarser_vectors_acts_below_the_first_level_and_where_it_is_asked(tiny, small):
    _, params, codebooks, states, space = small
    codes = jnp.zeros((1, 2, 2), jnp.int32)
    noise = jnp.ones((2, 1, 2, 2))

    def run(sum_noise):
        levels = level_head.Spec(width=4, num_blocks=1, sum_noise=sum_noise)
        spec = dataclasses.replace(tiny.spec, head="levels", levels=levels, has_code_head=False)
        told = states, codes, codebooks, noise
        return resgen.make(spec, space).apply(params, *told, method="level_nll")

    moved, still = run(0.5), run(0.0)
    assert np.all(np.abs(moved[..., 1] - still[..., 1]) > 1e-4)
    # Nothing lies above the first level, yet it is told the noise as well, at its own scale.
    assert np.all(np.isfinite(moved))


def test_what_only_fills_a_codebook_up_is_never_drawn(small):
    network, params, codebooks, states, _ = small
    codebooks = codebooks.at[1, 2].set(rvq.FAR)

    def nll(last):
        codes = jnp.full((1, 2, 2), 0).at[..., 1].set(last)
        return network.apply(params, states, codes, codebooks, method="level_nll")[..., 1]

    np.testing.assert_allclose(np.exp(-nll(0)) + np.exp(-nll(1)), 1, rtol=1e-5)
    assert np.all(nll(2) > 1e6)


def draw(small, guidance_scale=None, temperature=1.0, known=None, is_masked=None, other=None):
    """Shares of each stack at both positions "p 3 3" among the draws."""
    network, params, codebooks, states, _ = small
    states = jnp.repeat(states, NUM_DRAWS, axis=0)
    branches = None
    if guidance_scale is not None:
        other = jnp.repeat(other, NUM_DRAWS, axis=0)
        branches = proposals.Branches(states, other, jnp.float32(guidance_scale))
    outputs = proposals.Outputs(network, params, states, codebooks, branches)
    knobs = proposals.Knobs(1.0, temperature, 0, 1.0, 1.0)
    codes = jnp.zeros((NUM_DRAWS, 2, 2), jnp.int32) if known is None else known
    is_masked = jnp.ones(codes.shape, bool) if is_masked is None else is_masked
    row_keys = keys.example_keys(jax.random.key(4), jnp.arange(NUM_DRAWS))
    return proposals.from_levels(
        row_keys, outputs, codes, is_masked, knobs, confidence.codes_alone(1)
    )


def shares(codes):
    stacks = np.asarray(codes[..., 0] * 3 + codes[..., 1])
    return np.stack([np.bincount(stacks[:, p], minlength=9) / len(stacks) for p in range(2)])


def test_draws_follow_the_probabilities(small, nll):
    made = draw(small)
    expected = np.exp(-np.asarray(nll(all_stacks())).sum(-1)).T
    np.testing.assert_allclose(shares(made.codes), expected, atol=0.03)
    found = np.asarray(nll(made.codes[:50]))
    np.testing.assert_allclose(made.log_prob[:50], -found, atol=1e-5)


def test_known_codes_stay_and_condition_the_finer_ones(small, nll):
    known = jnp.zeros((NUM_DRAWS, 2, 2), jnp.int32).at[..., 0].set(2)
    is_masked = jnp.zeros(known.shape, bool).at[..., 1].set(True)
    made = draw(small, known=known, is_masked=is_masked)
    assert np.all(made.codes[..., 0] == 2)
    given = np.exp(-np.asarray(nll([[[2, code]] * 2 for code in range(3)]))[..., 1]).T
    np.testing.assert_allclose(shares(made.codes)[:, 6:], given, atol=0.03)


def test_guidance_is_on_logits_of_both_sides_told_the_same_codes(small, nll):
    """At scale s, level by level, p is in proportion to p_c^s p_u^(1 - s)."""
    other = jnp.asarray(np.random.default_rng(9).normal(0, 1, (1, 2, 8)), jnp.float32)
    made = draw(small, guidance_scale=2.0, other=other)
    stacks = all_stacks()
    sides = [-np.asarray(nll(stacks, states), np.float64) for states in (small[3], other)]
    guided = (2 * sides[0] - sides[1]).reshape(3, 3, 2, 2)
    first = np.exp(guided[:, 0, :, 0])
    second = np.exp(guided[..., 1])
    joint = (first / first.sum(0))[:, None] * (second / second.sum(1, keepdims=True))
    np.testing.assert_allclose(shares(made.codes), joint.reshape(9, 2).T, atol=0.03)


def test_a_guidance_scale_of_one_is_no_guidance(small):
    other = small[3] + 1
    made = draw(small, guidance_scale=1.0, other=other)
    np.testing.assert_array_equal(made.codes, draw(small).codes)


def test_a_temperature_of_zero_takes_the_likeliest_code_of_every_level(small, nll):
    made = draw(small, temperature=0.0)
    assert np.all(made.codes == made.codes[:1])
    probability = np.exp(-np.asarray(nll(all_stacks()))).reshape(3, 3, 2, 2)
    for position in range(2):
        first = probability[:, 0, position, 0].argmax()
        second = probability[first, :, position, 1].argmax()
        np.testing.assert_array_equal(made.codes[0, position], [first, second])


def test_the_sampler_asks_only_heads_that_are_there(tiny, small):
    network, space = small[0], small[4]
    spec = resgen_sampler.Spec(proposal="levels", confidence="drawn")
    resgen_sampler.Sampler(network, space, spec.choices)
    message = "sampler.proposal is 'levels', but the model has no trained level head, only code"
    with pytest.raises(errors.UserError, match=message):
        resgen_sampler.Sampler(tiny.network, tiny.space, spec.choices)
    with pytest.raises(errors.UserError, match="no trained mixture head, only level head"):
        resgen_sampler.Sampler(network, space, resgen_sampler.Spec().choices)
    with pytest.raises(errors.UserError, match="reads a draw of the mixture"):
        resgen_sampler.Spec(proposal="levels", confidence="component")


def test_a_level_head_of_no_size_is_refused():
    with pytest.raises(errors.UserError, match="width"):
        level_head.Spec(width=0)
    with pytest.raises(errors.UserError, match=r"levels.sum_noise is -1.0; expected 0 \(none\)"):
        level_head.Spec(sum_noise=-1.0)
