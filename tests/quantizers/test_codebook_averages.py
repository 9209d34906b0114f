"""Laws of codebooks that are moving averages: statistics, restart of dead codes, pooling."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.quantizers import codebook_averages, rvq

DEPTH, NUM_CODES, CODE_DIM = 3, 8, 4

encode = jax.jit(rvq.encode)
statistics = jax.jit(codebook_averages.statistics)
entering_rows = jax.jit(codebook_averages.entering_rows)


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (16, 5, CODE_DIM))


@pytest.fixture
def codebooks(key):
    return codebook_averages.random_codebooks(key, DEPTH, NUM_CODES, CODE_DIM)


@pytest.fixture
def codes(latents, codebooks):
    return encode(latents, codebooks)[0]


def residuals(latents, codes, codebooks):
    """What enters each level: one array of rows per level."""
    rows, books = np.asarray(latents).reshape(-1, CODE_DIM), np.asarray(codebooks)
    row_codes = np.asarray(codes).reshape(-1, DEPTH)
    for level in range(DEPTH):
        yield rows, row_codes[:, level]
        rows = rows - books[level][row_codes[:, level]]


def test_statistics_are_those_of_a_loop(latents, codes, codebooks, key):
    is_valid = jax.random.bernoulli(key, 0.7, latents.shape[:2])
    kept = np.asarray(is_valid).reshape(-1)
    found = jax.jit(functools.partial(codebook_averages.statistics, max_distances=100))(
        latents, codes, codebooks, is_valid
    )
    for level, (rows, row_codes) in enumerate(residuals(latents, codes, codebooks)):
        for code in range(NUM_CODES):
            members = rows[kept & (row_codes == code)]
            assert found.counts[level, code] == len(members)
            np.testing.assert_allclose(found.sums[level, code], members.sum(0), atol=1e-5)


def test_with_decay_0_a_code_is_the_mean_of_its_members(latents, codes, codebooks):
    old = codebook_averages.stats_of(codebooks)
    stats = codebook_averages.update(old, statistics(latents, codes, codebooks), decay=0.0)
    means = codebook_averages.codebooks_from(stats, smoothing=0.0)
    for level, (rows, row_codes) in enumerate(residuals(latents, codes, codebooks)):
        for code in np.unique(row_codes):
            expected = rows[row_codes == code].mean(0)
            np.testing.assert_allclose(means[level, code], expected, atol=1e-5)


def test_moving_average_and_laplace_smoothing_by_numpy(key):
    decay, smoothing = 0.9, 0.5
    stats = codebook_averages.stats_of(
        codebook_averages.random_codebooks(key, 1, NUM_CODES, CODE_DIM), 3.0
    )
    counts, sums = np.asarray(stats.counts), np.asarray(stats.sums)
    for step in range(3):
        batch_key = jax.random.fold_in(key, step)
        batch = codebook_averages.CodebookStats(
            counts=jax.random.uniform(batch_key, counts.shape),
            sums=jax.random.normal(batch_key, sums.shape),
        )
        stats = codebook_averages.update(stats, batch, decay=decay)
        counts = decay * counts + (1 - decay) * np.asarray(batch.counts)
        sums = decay * sums + (1 - decay) * np.asarray(batch.sums)
    total = counts.sum(-1, keepdims=True)
    smoothed = (counts + smoothing) / (total + NUM_CODES * smoothing) * total
    np.testing.assert_allclose(
        codebook_averages.codebooks_from(stats, smoothing), sums / smoothed[..., None], rtol=1e-5
    )
    np.testing.assert_allclose(smoothed.sum(-1), counts.sum(-1), rtol=1e-6)


def test_counts_and_sums_start_together(codebooks):
    for count in (0.25, 7.0):
        stats = codebook_averages.stats_of(codebooks, count)
        np.testing.assert_allclose(
            codebook_averages.codebooks_from(stats, smoothing=0.0), codebooks, rtol=1e-6
        )


def test_a_code_never_chosen_stays_finite():
    nothing = codebook_averages.CodebookStats(
        counts=jnp.zeros((1, NUM_CODES)), sums=jnp.zeros((1, NUM_CODES, CODE_DIM))
    )
    for smoothing in (0.0, 1e-5):
        assert jnp.isfinite(codebook_averages.codebooks_from(nothing, smoothing)).all()


def test_a_shared_codebook_gathers_all_levels(latents, codes, codebooks):
    apart = statistics(latents, codes, codebooks)
    pooled = codebook_averages.pool(apart)
    assert pooled.counts.shape == (1, NUM_CODES)
    np.testing.assert_allclose(pooled.counts[0], np.asarray(apart.counts).sum(0))
    np.testing.assert_allclose(pooled.sums[0], np.asarray(apart.sums).sum(0), atol=1e-5)


def test_devices_give_the_statistics_of_one(latents, codes, codebooks):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    function = functools.partial(codebook_averages.statistics, max_distances=16 * NUM_CODES)
    expected = jax.jit(function)(latents, codes, codebooks)
    batch = jax.device_put((latents, codes), rows)
    found = jax.jit(function, out_shardings=everywhere)(*batch, codebooks)
    np.testing.assert_array_equal(found.counts, expected.counts)
    np.testing.assert_allclose(found.sums, expected.sums, atol=1e-5)


def test_restarted_codes_are_rows_that_enter_their_level(latents, codes, codebooks, key):
    rows = entering_rows(key, latents, codes, codebooks)
    for level, (entering, _) in enumerate(residuals(latents, codes, codebooks)):
        distance = np.abs(entering[None] - np.asarray(rows[level])[:, None]).max(-1)
        assert (distance.min(1) < 1e-6).all()
        assert len(np.unique(distance.argmin(1))) == NUM_CODES  # no row twice


def test_only_dead_codes_restart_and_the_next_step_uses_them(codebooks, latents, codes, key):
    counts = jnp.full((DEPTH, NUM_CODES), 10.0).at[1, 2].set(0.01).at[2, 5].set(0.0)
    stats = codebook_averages.stats_of(codebooks, counts)
    candidates = entering_rows(key, latents, codes, codebooks)
    is_dead = codebook_averages.is_dead(stats, 0.05)
    assert is_dead.sum() == 2
    assert is_dead[1, 2]
    assert is_dead[2, 5]
    restarted = codebook_averages.restart(stats, candidates, threshold=0.05)
    fresh = codebook_averages.codebooks_from(restarted, smoothing=0.0)
    np.testing.assert_allclose(fresh[1, 2], candidates[1, 2], rtol=1e-5)
    np.testing.assert_allclose(fresh[2, 5], candidates[2, 5], rtol=1e-5)
    np.testing.assert_allclose(
        jnp.where(is_dead[..., None], codebooks, fresh), codebooks, rtol=1e-5, atol=1e-6
    )
    mean = float(counts[1].mean())
    np.testing.assert_allclose(restarted.counts[1, 2], mean, rtol=1e-6)
    # The row that became the code is nearest to it at the next step.
    found, _ = encode(candidates[2, 5][None], fresh[2:])
    assert found[0, 0] == 5


def test_candidates_of_a_shared_codebook_come_from_all_levels(key):
    candidates = jnp.broadcast_to(jnp.arange(3.0)[:, None, None], (3, 64, 1))
    chosen = codebook_averages.pool_candidates(key, candidates)
    assert chosen.shape == (1, 64, 1)
    assert set(np.unique(chosen)) == {0.0, 1.0, 2.0}


def test_spread_rows_are_valid_and_differ(key):
    is_valid = jax.random.bernoulli(key, 0.5, (200,))
    spread = jax.jit(codebook_averages.spread_rows, static_argnums=2)
    seen = set()
    for seed in range(20):
        rows = np.asarray(spread(jax.random.fold_in(key, seed), is_valid, 30))
        assert is_valid[rows].all()
        assert len(set(rows)) == 30
        seen |= set(rows)
    assert len(seen) > 0.95 * int(is_valid.sum())
    few = spread(key, jnp.arange(10) < 3, 7)
    assert set(np.asarray(few)) == {0, 1, 2}


def test_depth_dropout_decodes_a_random_prefix(codebooks, codes, key):
    def drop(drop_rate):
        num_levels = codebook_averages.sample_num_levels(key, len(codes), DEPTH, drop_rate)
        return rvq.decode_first(codes, codebooks, num_levels), num_levels

    whole, num_levels = drop(0.0)
    np.testing.assert_allclose(whole, rvq.decode(codes, codebooks), atol=1e-6)
    assert (num_levels == DEPTH).all()
    part, num_levels = drop(1.0)
    sums = rvq.partial_sums(codes, codebooks)
    for row, num in enumerate(num_levels):
        np.testing.assert_allclose(part[row], sums[row, :, int(num) - 1], atol=1e-6)
    many = np.asarray(codebook_averages.sample_num_levels(key, 3000, DEPTH, 0.6))
    # 1 and 2 have probability 0.6 / 3 each; five standard deviations of 3,000 draws.
    share = np.bincount(many, minlength=DEPTH + 1) / 3000
    np.testing.assert_allclose(share, [0.0, 0.2, 0.2, 0.6], atol=0.045)
    with pytest.raises(errors.UserError, match=r"drop_rate is 1.5"):
        drop(1.5)
