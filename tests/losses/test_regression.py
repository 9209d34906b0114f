"""The loss of predicted vectors by hand."""

import jax.numpy as jnp
import numpy as np

from resgen_jax.losses import regression


def test_each_example_has_the_mean_of_its_squares_in_float32():
    target = jnp.zeros((2, 2, 2), jnp.bfloat16)
    predicted = target.at[0, 0, 0].set(2).at[1].set(3)
    loss = regression.mean_squared_error(predicted, target)
    assert loss.dtype == jnp.float32
    np.testing.assert_array_equal(loss, [1, 9])


def test_each_position_has_the_mean_of_its_own_channels():
    target = jnp.zeros((2, 2, 2), jnp.bfloat16)
    predicted = target.at[0, 0, 0].set(2).at[1].set(3)
    errors = regression.position_errors(predicted, target)
    assert errors.dtype == jnp.float32
    np.testing.assert_array_equal(errors, [[2, 0], [9, 9]])
