"""The sampling loop and its order where levels are revealed one after the other."""

import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.processes import level_masking, mask_schedules, masks
from resgen_jax.samplers import mask_predict, order

BATCH, LENGTH, DEPTH = 3, 5, 4
NUM_TOKENS = LENGTH * DEPTH


def batch_keys(num):
    return jax.vmap(jax.random.key)(jnp.arange(num))


def test_level_by_level_reveals_a_level_in_its_steps_and_never_a_finer_one():
    """Whatever the confidences: these prefer deep levels; 3 + 2 + ... steps are as many calls."""
    shape = (BATCH, LENGTH, DEPTH)
    codes, is_masked = jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool)
    steps = (3, *(2,) * (DEPTH - 2), 1)
    num_masked = level_masking.num_masked_per_example(
        mask_schedules.cosine, steps, np.full(BATCH, NUM_TOKENS)
    )
    assert len(num_masked) == sum(steps)

    def deep_first(keys, codes, is_masked, knobs):
        noise = jax.vmap(lambda key: jax.random.normal(key, codes.shape[1:]))(keys)
        return codes, noise + 100.0 * jnp.arange(DEPTH, dtype=jnp.float32)[None, None]

    def run(turns):
        return mask_predict.fill_with_states(
            batch_keys(BATCH),
            deep_first,
            codes,
            is_masked,
            num_masked,
            order_noise=order.constant(sum(steps), 1.0),
            order=turns(order.by_confidence),
            pick=order.PICKS["level_by_level"],
        )[1][1]

    found = np.asarray(run(order.levels_in_turn))
    np.testing.assert_array_equal(found.sum(axis=(2, 3)), num_masked)
    ends = np.cumsum(steps) - 1
    for step, mask in enumerate(found):
        level = np.searchsorted(ends, step)  # the one that the step revealed some of
        assert not mask[..., :level].any()
        assert mask[..., level + 1 :].all()
        assert mask[..., level].any() == (step not in ends)
        taught = np.asarray(masks.KINDS["level_by_level"].taught(jnp.asarray(mask)))
        open_level = level + (step in ends)
        expected = np.where(np.arange(DEPTH) == open_level, mask, False)
        np.testing.assert_array_equal(taught, expected)
    assert np.any(np.asarray(run(order.as_scored))[0, ..., 1:] < 1), (
        "as scored, deep ones come first"
    )


def test_levels_in_turn_keeps_the_order_within_a_level_and_the_first_of_equals():
    scores = jnp.array([[[0.5, 9.0], [0.5, jnp.nan], [2.0, -jnp.inf]]])
    found = order.levels_in_turn(lambda keys, confidence, noise: confidence)
    keys = batch_keys(1)
    expected = [[[-1, -3], [-2, -5], [0, -4]]]
    np.testing.assert_array_equal(found(keys, scores, jnp.float32(0)), np.array(expected, float))
