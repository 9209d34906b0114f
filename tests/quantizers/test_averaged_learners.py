"""Codebooks by moving averages against the published steps, written again in float64 NumPy."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.quantizers import averaged_learners, learner

NUM_ROWS, NUM_STEPS = 50, 4
SPEC = learner.Spec(
    code_dim=3, depth=3, codebook_size=6, decay=0.7, smoothing=1e-3, restart_threshold=0.0
)


def batches():
    return np.random.default_rng(0).normal(size=(NUM_STEPS, NUM_ROWS, 3)).astype(np.float32)


def codebook_of(counts, sums):
    """The sums over counts that are smoothed and add up to what they did."""
    total = counts.sum()
    return sums / ((counts + 1e-3) / (total + 6 * 1e-3) * total)[:, None]


def level_step(rows, table):
    """Codes of the nearest vectors, how many rows chose each, and what these rows add up to."""
    codes = ((rows[:, None] - table) ** 2).sum(-1).argmin(-1)
    chosen = np.eye(len(table))[codes]
    return codes, chosen.sum(0), chosen.T @ rows


def by_numpy(counts, sums, num_tables):
    """Codes of every step, and counts and sums after the last; levels share the last table."""
    found = []
    for batch in batches():
        tables = [codebook_of(*level) for level in zip(counts, sums, strict=True)]
        rows, codes = batch.astype(np.float64), []
        new_counts, new_sums = np.zeros_like(counts), np.zeros_like(sums)
        for level in range(3):
            table = min(level, num_tables - 1)
            chosen, level_counts, level_sums = level_step(rows, tables[table])
            new_counts[table] += level_counts
            new_sums[table] += level_sums
            rows = rows - tables[table][chosen]
            codes.append(chosen)
        counts, sums = 0.7 * counts + 0.3 * new_counts, 0.7 * sums + 0.3 * new_sums
        found.append(np.stack(codes, -1))
    return np.stack(found), counts, sums


@pytest.mark.parametrize(
    ("make", "num_tables"),
    [(averaged_learners.ema_rvq, 3), (averaged_learners.shared_ema_rvq, 1)],
)
def test_every_step_is_the_published_one(make, num_tables, key):
    made = make(SPEC)
    state = made.init(key)
    start = [np.asarray(leaf, np.float64) for leaf in (state.counts, state.sums)]
    codes, counts, sums = by_numpy(*start, num_tables)

    @jax.jit
    def step(state, rows):
        quantized = made.quantize(state, rows)
        return quantized, made.update(state, rows, quantized, key)

    for expected, batch in zip(codes, batches(), strict=True):
        quantized, state = step(state, batch)
        np.testing.assert_array_equal(quantized.codes, expected)
    np.testing.assert_allclose(state.counts, counts, rtol=1e-5)
    np.testing.assert_allclose(state.sums, sums, rtol=1e-4, atol=1e-5)
    tables = [codebook_of(*level) for level in zip(counts, sums, strict=True)]
    expected = np.broadcast_to(tables, (3, 6, 3))
    np.testing.assert_allclose(made.codebooks(state), expected, rtol=1e-4, atol=1e-5)


def test_a_shared_codebook_keeps_pace_with_one_that_moves_after_each_level(key):
    # RQ-VAE's own code decays the shared counts at every level: three times a step.
    made = averaged_learners.shared_ema_rvq(dataclasses.replace(SPEC, decay=0.7**3))
    state = made.init(key)
    total = float(state.counts.sum()) / 3
    for batch in jnp.asarray(batches()):
        state = made.update(state, batch, made.quantize(state, batch), key)
        for _ in range(3):
            total = 0.7 * total + 0.3 * NUM_ROWS
        np.testing.assert_allclose(state.counts.sum(), 3 * total, rtol=1e-5)
