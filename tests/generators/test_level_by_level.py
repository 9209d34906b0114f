"""Sampling level by level: one level is filled after the other, by the code head."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, keys
from resgen_jax.generators import resgen_sampler
from resgen_jax.samplers import mask_predict

NUM_TOKENS = 18


@pytest.fixture(scope="module")
def row_keys():
    return keys.example_keys(jax.random.key(7), jnp.arange(4))


LEVELS = resgen_sampler.Spec(
    num_steps=4, masks="level_by_level", proposal="codes", confidence="drawn", guidance_scale=2.0
)


def test_level_by_level_fills_one_level_after_the_other(tiny, row_keys):
    """Six positions of depth 3 in 2 + 1 + 1 steps: a call of the network each."""
    plan = resgen_sampler.plan(LEVELS, NUM_TOKENS, depth=3)
    sampler = resgen_sampler.Sampler(
        tiny.network, tiny.space, LEVELS.choices, mask_predict.fill_with_states
    )
    arguments = tiny.params, tiny.codebooks, row_keys, tiny.labels
    _, (_, masked_after) = sampler.sample(*arguments, plan)
    left = np.asarray(masked_after).sum(axis=2)
    np.testing.assert_array_equal(left[0, :, 1:], 6)
    np.testing.assert_array_equal(left[0, :, 0], 5)  # ceil(6 cos(pi / 4))
    np.testing.assert_array_equal(
        left[1:], np.broadcast_to([[[0, 6, 6]], [[0, 0, 6]], [[0] * 3]], (3, 4, 3))
    )
    told = dataclasses.replace(LEVELS, steps_per_level=(2, 1, 1))
    jax.tree.map(np.testing.assert_array_equal, resgen_sampler.plan(told, NUM_TOKENS, 3), plan)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"masks": "indep"}, "steps_per_level is .* but sampler.masks 'indep'"),
        ({"num_steps": 5}, r"together 4, and sampler.num_steps 5; expected"),
        ({"steps_per_level": (4, 0)}, "expected 1 or more for each level"),
    ],
)
def test_steps_per_level_that_do_not_fit_are_refused(changes, message):
    spec = dataclasses.replace(LEVELS, steps_per_level=(2, 1, 1))
    with pytest.raises(errors.UserError, match=message):
        dataclasses.replace(spec, **changes)
    with pytest.raises(errors.UserError, match="has 3 entries for depth 9"):
        resgen_sampler.plan(spec, NUM_TOKENS, depth=9)
