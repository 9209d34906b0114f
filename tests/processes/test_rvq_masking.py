"""Masks against the multivariate hypergeometric law, by simulation and by enumeration."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.processes import mask_schedules, rvq_masking

LENGTH, DEPTH = 3, 4


def batch_keys(num):
    return jax.random.split(jax.random.key(0), num)


def counts_with_sum(total, length=LENGTH, depth=DEPTH):
    every = itertools.product(range(depth + 1), repeat=length)
    return [np.array(counts) for counts in every if sum(counts) == total]


def probability(available, drawn):
    """Hypergeometric probability with whole-number arithmetic."""
    ways = math.prod(map(math.comb, available, drawn))
    return ways / math.comb(int(sum(available)), int(sum(drawn)))


@pytest.mark.parametrize("num_masked", [0, 1, 5, 12])
def test_hidden_counts_sum_and_stay_in_range(num_masked, key):
    draw = jax.jit(rvq_masking.sample_num_hidden, static_argnums=(2, 3))
    num_hidden = np.asarray(draw(key, num_masked, LENGTH, DEPTH))  # traced count
    assert num_hidden.sum() == num_masked
    assert num_hidden.min() >= 0
    assert num_hidden.max() <= DEPTH
    eager = rvq_masking.sample_num_hidden(key, num_masked, LENGTH, DEPTH)
    np.testing.assert_array_equal(num_hidden, eager)


def test_hidden_counts_have_the_hypergeometric_mean_variance_and_law():
    num_masked, num_draws = 7, 20_000
    draws = jax.jit(
        jax.vmap(lambda key: rvq_masking.sample_num_hidden(key, num_masked, LENGTH, DEPTH))
    )(batch_keys(num_draws))
    draws = np.asarray(draws)
    mean = num_masked / LENGTH
    num_tokens = LENGTH * DEPTH
    variance = mean * (1 - 1 / LENGTH) * (num_tokens - num_masked) / (num_tokens - 1)
    np.testing.assert_allclose(draws.mean(axis=0), mean, atol=0.03)
    np.testing.assert_allclose(draws.var(axis=0), variance, rtol=0.05)
    for counts in counts_with_sum(num_masked):
        share = (draws == counts).all(axis=1).mean()
        expected = probability([DEPTH] * LENGTH, counts)
        assert share == pytest.approx(expected, abs=0.015)


def test_mask_hides_the_deepest_levels():
    is_masked = rvq_masking.mask_from_num_hidden(jnp.array([[0, 1], [3, 4]]), 4)
    expected = [[[0, 0, 0, 0], [0, 0, 0, 1]], [[0, 1, 1, 1], [1, 1, 1, 1]]]
    np.testing.assert_array_equal(is_masked, np.array(expected, bool))


@pytest.mark.parametrize("max_rate", [1.0, 0.3])
def test_training_masks_follow_the_schedule(max_rate):
    num = 4000
    sample = jax.jit(
        lambda keys: rvq_masking.sample_mask(keys, mask_schedules.cosine, 4, 8, max_rate)
    )
    is_masked = np.asarray(sample(batch_keys(num)))
    assert is_masked.shape == (num, 4, 8)
    assert (np.diff(is_masked.astype(int), axis=-1) >= 0).all(), "deepest first"
    num_masked = is_masked.sum(axis=(1, 2))
    assert num_masked.min() >= max(1, math.ceil(32 * math.cos(math.pi / 2 * max_rate)))
    ratio = max_rate * (np.arange(10_000) + 0.5) / 10_000
    expected = np.ceil(32 * np.cos(np.pi / 2 * ratio)).mean()
    assert num_masked.mean() == pytest.approx(expected, abs=4 * num_masked.std() / num**0.5)


def test_masks_of_every_kind_hide_as_many_at_each_position(key):
    """The same cells are chosen; the kinds differ in the levels that they hide for them."""

    def sample(kind):
        hide = rvq_masking.MASKS[kind]
        return np.asarray(
            rvq_masking.sample_mask(
                batch_keys(300), mask_schedules.cosine, LENGTH, DEPTH, hide=hide
            )
        )

    coarse, fine, chosen = map(sample, ("coarse_first", "fine_first", "indep"))
    np.testing.assert_array_equal(coarse.sum(-1), chosen.sum(-1))
    np.testing.assert_array_equal(fine, coarse[..., ::-1])
    assert (np.diff(coarse.astype(int), axis=-1) >= 0).all()
    # Every cell alike: levels are hidden independently of one another but for the total.
    share = chosen.mean(axis=0)
    np.testing.assert_allclose(share, share.mean(), atol=0.08)
    assert (np.diff(chosen.astype(int), axis=-1) < 0).any()
    cells = np.asarray(rvq_masking.sample_cells(key, 5, LENGTH, DEPTH))
    assert cells.sum() == 5
    num_hidden = rvq_masking.sample_num_hidden(key, 5, LENGTH, DEPTH)
    np.testing.assert_array_equal(cells.sum(-1), num_hidden)


def test_a_mask_does_not_depend_on_the_batch_around_it():
    def sample(keys):
        return rvq_masking.sample_mask(keys, mask_schedules.cosine, LENGTH, DEPTH)

    row_keys = batch_keys(6)
    np.testing.assert_array_equal(sample(row_keys)[2:4], sample(row_keys[2:4]))


def test_revealed_and_masked_embedding_add_up_to_quantized(key):
    random = np.random.default_rng(0)
    codebooks = random.normal(size=(DEPTH, 9, 5)).astype(np.float32)
    codes = random.integers(0, 9, (2, LENGTH, DEPTH))
    is_masked = random.random(codes.shape) < 0.5
    vectors = codebooks[np.arange(DEPTH), codes]
    arrays = jnp.asarray(codes), jnp.asarray(is_masked), jnp.asarray(codebooks)
    masked = rvq_masking.masked_embedding(*arrays)
    revealed = rvq_masking.revealed_embedding(*arrays)
    np.testing.assert_allclose(
        masked, np.where(is_masked[..., None], vectors, 0).sum(axis=2), atol=1e-5
    )
    np.testing.assert_allclose(revealed + masked, vectors.sum(axis=2), atol=1e-5)


def test_hidden_codes_do_not_show_in_the_revealed_embedding():
    codebooks = jnp.asarray(np.random.default_rng(1).normal(size=(2, 4, 3)), jnp.float32)
    is_masked = jnp.array([[[False, True]]])
    one = rvq_masking.revealed_embedding(jnp.array([[[2, 0]]]), is_masked, codebooks)
    other = rvq_masking.revealed_embedding(jnp.array([[[2, 3]]]), is_masked, codebooks)
    np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(one[0, 0], codebooks[0, 2])


def test_marginal_equals_enumeration_and_sums_to_one():
    counts = counts_with_sum(5)
    log_q = np.asarray(rvq_masking.log_marginal(jnp.asarray(np.stack(counts)), DEPTH))
    expected = [probability([DEPTH] * LENGTH, each) for each in counts]
    np.testing.assert_allclose(np.exp(log_q), expected, rtol=1e-4)
    assert np.exp(log_q).sum() == pytest.approx(1, abs=1e-4)


def test_forward_and_posterior_equal_enumeration_and_bayes():
    """q(k_t) q(k_{t+1} | k_t) = q(k_{t+1}) q(k_t | k_{t+1}), also for impossible pairs."""
    earlier, later = np.stack(counts_with_sum(3)), np.stack(counts_with_sum(7))
    pairs = np.array(list(itertools.product(range(len(earlier)), range(len(later)))))
    before, after = jnp.asarray(earlier[pairs[:, 0]]), jnp.asarray(later[pairs[:, 1]])
    forward = np.asarray(rvq_masking.log_forward(before, after, DEPTH))
    posterior = np.asarray(rvq_masking.log_posterior(before, after))
    for row, (k, k_next) in enumerate(zip(np.asarray(before), np.asarray(after), strict=True)):
        if (k > k_next).any():
            assert forward[row] == posterior[row] == -np.inf
        else:
            expected = probability(DEPTH - k, k_next - k), probability(k_next, k)
            np.testing.assert_allclose(
                np.exp([forward[row], posterior[row]]), expected, rtol=1e-4, atol=1e-6
            )
    joint = np.exp(rvq_masking.log_marginal(before, DEPTH) + forward)
    reverse = np.exp(rvq_masking.log_marginal(after, DEPTH) + posterior)
    np.testing.assert_allclose(joint, reverse, rtol=1e-4, atol=1e-7)
    assert joint.sum() == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    "call",
    [
        lambda key: rvq_masking.sample_num_hidden(key, 13, LENGTH, DEPTH),
        lambda key: rvq_masking.sample_num_hidden(key, -1, LENGTH, DEPTH),
        lambda key: rvq_masking.sample_mask(key[None], mask_schedules.cosine, 2, 2, 0.0),
        lambda key: rvq_masking.sample_mask(key[None], mask_schedules.cosine, 2, 2, 1.5),
    ],
)
def test_values_out_of_range_are_refused(call, key):
    with pytest.raises(errors.UserError, match="expected"):
        call(key)


@pytest.fixture(scope="module")
def padded_masks():
    """Jitted: masks of rows of up to 7 positions, by keys and what is valid."""

    def masks(row_keys, is_valid, hide):
        length = is_valid.shape[1]
        return rvq_masking.sample_mask(
            row_keys, mask_schedules.cosine, length, DEPTH, 1.0, hide, is_valid
        )

    return jax.jit(masks, static_argnums=2)


@pytest.mark.parametrize("name", rvq_masking.MASKS)
def test_a_padded_row_is_masked_as_it_is_alone(padded_masks, name):
    """At its own length with nothing told of padding; a full row as without `is_valid`."""
    hide, row_keys = rvq_masking.MASKS[name], batch_keys(40)
    is_valid = jnp.arange(7)[None] < jnp.array([7, 3])[jnp.arange(40) % 2][:, None]
    found = np.asarray(padded_masks(row_keys, is_valid, hide))
    assert not found[~np.asarray(is_valid)].any()
    for first, length in enumerate([7, 3]):
        rows = slice(first, None, 2)
        alone = rvq_masking.sample_mask(
            row_keys[rows], mask_schedules.cosine, length, DEPTH, 1.0, hide
        )
        np.testing.assert_array_equal(found[rows, :length], alone)


def test_padding_between_positions_is_left_out_of_the_law(padded_masks):
    """The hypergeometric law of 3 positions, wherever they lie among 5."""
    is_valid = jnp.array([1, 0, 1, 0, 1], bool)
    cells = jax.jit(
        jax.vmap(lambda key: rvq_masking.sample_cells(key, jnp.int32(7), 5, DEPTH, is_valid))
    )(batch_keys(20_000))
    draws = np.asarray(cells).sum(axis=-1)
    assert not draws[:, [1, 3]].any()
    for counts in counts_with_sum(7):
        share = (draws[:, ::2] == counts).all(axis=1).mean()
        assert share == pytest.approx(probability([DEPTH] * 3, counts), abs=0.015)
