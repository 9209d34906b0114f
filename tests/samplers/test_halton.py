"""Orders by the Halton sequence: against the sequence written out, and what they are for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.processes import mask_schedules
from resgen_jax.samplers import halton, mask_predict, order

LAYOUT, DEPTH, BATCH = (4, 6), 3, 3
LENGTH = LAYOUT[0] * LAYOUT[1]
NUM_TOKENS = LENGTH * DEPTH


def row_keys(num=BATCH):
    return jax.vmap(jax.random.key)(jnp.arange(num))


def radical_inverse(number, base):
    """The digits of a number mirrored at the point."""
    value, share = 0.0, 1.0
    while number:
        share /= base
        value += share * (number % base)
        number //= base
    return value


@pytest.mark.parametrize("sides", [(4, 6), (1, 5), (3, 3, 4), (1, 1)])
def test_ranks_are_first_visits_of_the_sequence_written_out(sides):
    expected, number = np.full(sides, -1), 0
    while (expected < 0).any():
        point = [radical_inverse(number, base) for base in (2, 3, 5)[: len(sides)]]
        cell = tuple(int(x * side) for x, side in zip(point, sides, strict=True))
        if expected[cell] < 0:
            expected[cell] = expected.max() + 1
        number += 1
    np.testing.assert_array_equal(halton.ranks(sides), expected)


def states(make, num_steps, pick=order.shallowest):
    keys = row_keys()
    shape = (BATCH, LENGTH, DEPTH)
    _, (_, masks) = mask_predict.fill_with_states(
        keys,
        lambda step_keys, codes, *_: (codes, jnp.zeros(codes.shape)),
        jnp.zeros(shape, jnp.int32),
        jnp.ones(shape, bool),
        mask_schedules.num_masked_per_step(mask_schedules.linear, num_steps, NUM_TOKENS),
        order_noise=order.constant(num_steps, 1.0),
        order=make(keys, LAYOUT, DEPTH),
        pick=pick,
    )
    return np.asarray(masks)


def test_positions_come_whole_one_after_the_other_from_a_start_that_the_key_draws():
    masks = states(halton.positions, LENGTH)
    seen = [(~masks[step]).all(axis=-1) for step in range(LENGTH)]
    rank = halton.ranks(LAYOUT).reshape(-1)
    starts = set()
    for row in range(BATCH):
        before = np.zeros(LENGTH, bool)
        found = []
        for step in range(LENGTH):
            (new,) = np.flatnonzero(seen[step][row] & ~before)
            found.append(rank[new])
            before = seen[step][row]
        np.testing.assert_array_equal(found, (found[0] + np.arange(LENGTH)) % LENGTH)
        starts.add(int(found[0]))
    assert len(starts) > 1


def test_over_the_depth_all_positions_stay_about_as_deep():
    """Halfway the counts of positions vary less than those of an even draw of cells."""
    keys, num_cells = row_keys(20), 8 * 8 * 4
    nothing = jnp.zeros((20, 64, 4))
    score = np.asarray(halton.cells(keys, (8, 8), 4)(keys, nothing, 0.0))
    assert all(len(np.unique(row)) == num_cells for row in score)
    first = np.argsort(np.argsort(-score.reshape(20, -1), axis=-1), axis=-1) < num_cells // 2
    variance = first.reshape(score.shape).sum(axis=-1).var(axis=-1).mean()
    half = num_cells / 2
    hypergeometric = half / 64 * (1 - 1 / 64) * half / (num_cells - 1)
    assert variance < 0.75 * hypergeometric


@pytest.mark.parametrize("name", ["halton", "halton_depth"])
@pytest.mark.parametrize("pick", order.PICKS)
def test_masks_stay_those_of_training_and_counts_those_of_the_schedule(name, pick):
    masks = states(order.ORDERS[name], 6, order.PICKS[pick])
    counts = mask_schedules.num_masked_per_step(mask_schedules.linear, 6, NUM_TOKENS)
    np.testing.assert_array_equal(masks.sum(axis=(2, 3)), np.repeat(counts[:, None], BATCH, 1))
    rises = np.diff(masks.astype(int), axis=-1)
    if pick == "coarse_first":
        assert (rises >= 0).all()
    if pick == "fine_first":
        assert (rises <= 0).all()


def test_cells_revealed_together_lie_further_apart_than_at_random():
    """How far the nearest other one of the first 32 of 256 is, which is what the order is for."""

    def apart(chosen):
        points = np.stack(np.unravel_index(chosen, (16, 16)), axis=-1).astype(float)
        distance = np.linalg.norm(points[:, None] - points[None], axis=-1)
        return (distance + 99 * np.eye(len(points))).min(axis=-1).mean()

    first = np.argsort(halton.ranks((16, 16)).reshape(-1))[:32]
    random = np.random.default_rng(0)
    others = [apart(random.permutation(256)[:32]) for _ in range(200)]
    assert apart(first) > max(others)
