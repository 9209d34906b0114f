"""Laws of keys: by name, by step and by example."""

import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.core import keys


def data(key):
    return np.asarray(jax.random.key_data(key)).tolist()


def test_adding_a_name_changes_no_other(key):
    few = keys.named_keys(key, "mask", "noise")
    more = keys.named_keys(key, "dropout", "noise", "label", "mask")
    assert data(few["mask"]) == data(more["mask"])
    assert data(few["noise"]) == data(more["noise"])
    assert len({tuple(data(value)) for value in more.values()}) == 4


def test_step_keys_are_the_same_for_any_kind_of_number(key):
    assert data(keys.step_key(key, 7)) == data(jax.jit(keys.step_key)(key, jnp.int32(7)))
    assert data(keys.step_key(key, 7)) != data(keys.step_key(key, 8))


def test_an_example_draws_the_same_in_any_batch(key):
    whole = keys.example_keys(key, jnp.arange(6))
    part = keys.example_keys(key, jnp.array([4, 1]))
    assert data(part) == [data(whole)[4], data(whole)[1]]
