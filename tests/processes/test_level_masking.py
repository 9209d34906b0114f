"""Masks of one level at a time: their law, what they teach, and the counts of sampling."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.processes import level_masking, mask_schedules, masks

LENGTH, DEPTH = 6, 3


@pytest.fixture(scope="module")
def sample():
    """Jitted: masks by keys and what is valid."""

    def run(keys, is_valid=None):
        return level_masking.sample_mask(
            keys, mask_schedules.cosine, LENGTH, DEPTH, is_valid=is_valid
        )

    return jax.jit(run)


def batch_keys(num):
    return jax.random.split(jax.random.key(0), num)


def test_one_level_is_hidden_in_part_coarser_ones_not_and_finer_ones_whole(sample):
    num = 6000
    is_masked = np.asarray(sample(batch_keys(num)))
    per_level = is_masked.sum(axis=1)
    level = (per_level > 0).argmax(axis=-1)
    number = np.arange(DEPTH)[None]
    assert not per_level[number < level[:, None]].any()
    assert (per_level[number > level[:, None]] == LENGTH).all()
    np.testing.assert_allclose(np.bincount(level) / num, 1 / DEPTH, atol=0.02)
    hidden = per_level[np.arange(num), level]
    # ceil(6 cos(pi r / 2)) is k where r lies between two values of arccos.
    edges = np.arccos(np.arange(LENGTH + 1) / LENGTH) * 2 / np.pi
    expected = edges[:-1] - edges[1:]
    for each in range(DEPTH):
        share = np.bincount(hidden[level == each], minlength=LENGTH + 1)[1:] / (level == each).sum()
        np.testing.assert_allclose(share, expected, atol=0.04)
    where = is_masked[np.arange(num), :, level].mean(axis=0)
    np.testing.assert_allclose(where, where.mean(), atol=0.03)


def test_what_a_mask_teaches_is_the_hidden_part_of_its_level(sample):
    is_masked = sample(batch_keys(50))
    taught = np.asarray(level_masking.is_current(is_masked))
    level = np.asarray(is_masked).any(axis=1).argmax(axis=-1)
    expected = np.asarray(is_masked) & (np.arange(DEPTH) == level[:, None, None])
    np.testing.assert_array_equal(taught, expected)
    assert taught.any(axis=(1, 2)).all()
    everywhere = masks.KINDS["coarse_first"].taught(is_masked)
    np.testing.assert_array_equal(everywhere, is_masked)


def test_padding_is_neither_hidden_nor_counted(sample):
    is_valid = jnp.broadcast_to(jnp.arange(LENGTH) < 2, (400, LENGTH))
    found = np.asarray(sample(batch_keys(400), is_valid))
    assert not found[:, 2:].any()
    alone = level_masking.sample_mask(batch_keys(400), mask_schedules.cosine, 2, DEPTH)
    np.testing.assert_array_equal(found[:, :2], alone)


def test_counts_of_sampling_by_hand():
    found = level_masking.num_masked_per_example(
        mask_schedules.linear, (3, 1, 2), np.array([6, 12, 18])
    )
    expected = [
        [1 + 4, 3 + 8, 4 + 12],  # ceil(2/3 L) of level 0, and the other levels
        [1 + 4, 2 + 8, 2 + 12],
        [4, 8, 12],
        [2, 4, 6],
        [1, 2, 3],
        [0, 0, 0],
    ]
    np.testing.assert_array_equal(found[1:], expected[1:])
    np.testing.assert_array_equal(found[0], [2 + 4, 3 + 8, 4 + 12])


@pytest.mark.parametrize(
    ("num_steps", "depth", "length", "expected"),
    [
        (4, 4, 16, (1, 1, 1, 1)),
        # After one each: level 0 is worth 1, then 1/2 as level 1 is; of equals the coarser one.
        (7, 4, 16, (3, 2, 1, 1)),
        (8, 2, 4, (4, 4)),
    ],
)
def test_steps_are_shared_by_hand(num_steps, depth, length, expected):
    assert level_masking.share_steps(num_steps, depth, length) == expected


@pytest.mark.parametrize("num_steps", [20, 64, 100, 128])
def test_shared_steps_are_all_used_and_fall_with_the_level(num_steps):
    found = level_masking.share_steps(num_steps, 8, 16)
    assert sum(found) == num_steps
    assert list(found) == sorted(found, reverse=True)
    assert 1 <= found[-1] <= found[0] <= 16


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: level_masking.share_steps(3, 4, 16), "3 sampling steps for 4 levels of 16"),
        (lambda: level_masking.share_steps(9, 2, 4), "expected 2 to 8 steps"),
        (
            lambda: level_masking.num_masked_per_example(
                mask_schedules.linear, (1, 1), np.array([4, 5])
            ),
            "5 masked codes are not those of whole positions of depth 2",
        ),
        (
            lambda: level_masking.num_masked_per_example(
                mask_schedules.linear, (5, 1), np.array([8])
            ),
            "5 sampling steps for 4 masked tokens",
        ),
        (
            lambda: level_masking.sample_mask(batch_keys(1), mask_schedules.linear, 2, 2, 0.0),
            "max_rate is 0.0",
        ),
    ],
)
def test_values_out_of_range_are_refused(call, message):
    with pytest.raises(errors.UserError, match=message):
        call()
