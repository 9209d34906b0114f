"""Laws of normalisation and its modulation."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import pytest

from resgen_jax.nn import functional, modulation


@pytest.fixture
def values(key):
    return 3 + 2 * jax.random.normal(key, (2, 5, 8))


def test_layer_norm_is_the_textbooks(values):
    expected = numpy_networks.layer_norm(np.asarray(values, np.float64))
    np.testing.assert_allclose(modulation.layer_norm(values), expected, atol=1e-5)


def test_layer_norm_forgets_shift_and_scale_of_a_position(values):
    moved = 7 * values - 40
    np.testing.assert_allclose(
        modulation.layer_norm(moved), modulation.layer_norm(values), atol=1e-4
    )


def test_layer_norm_of_low_precision_is_computed_in_float32(key):
    # A mean this far from zero leaves bfloat16 sums no digits.
    values = (100 + jax.random.normal(key, (4, 64))).astype(jnp.bfloat16)
    normed = modulation.layer_norm(values)
    assert normed.dtype == jnp.bfloat16
    expected = numpy_networks.layer_norm(np.asarray(values.astype(jnp.float32), np.float64))
    np.testing.assert_allclose(normed.astype(jnp.float32), expected, atol=0.02)


def test_modulation_shifts_and_scales_what_is_normalised(values):
    shift, scale = 2 * jnp.ones_like(values), 0.5 * jnp.ones_like(values)
    expected = numpy_networks.layer_norm(np.asarray(values, np.float64)) * 1.5 + 2
    np.testing.assert_allclose(modulation.modulate(values, shift, scale), expected, atol=1e-5)


@pytest.fixture(scope="module")
def shared():
    return functional.from_module(
        lambda rngs: modulation.SharedModulation(5, 7, 3, 4, jnp.float32, rngs)
    )


def test_modulation_starts_at_zero(shared, key):
    condition = jax.random.normal(key, (2, 6, 5))
    vectors = shared.apply(shared.init(key), condition)
    np.testing.assert_array_equal(np.stack(vectors), np.zeros((3, 2, 6, 4)))


def test_modulation_is_two_dense_layers(shared, key):
    condition = jax.random.normal(key, (2, 6, 5))
    params = jax.tree.map(lambda leaf: leaf + 0.3, shared.init(key))
    up, down = (numpy_networks.double(params)[name] for name in ("up", "down"))
    hidden = numpy_networks.silu(numpy_networks.dense(up, np.asarray(condition, np.float64)))
    expected = numpy_networks.dense(down, hidden).reshape(2, 6, 3, 4)
    expected = np.moveaxis(expected, 2, 0)
    np.testing.assert_allclose(np.stack(shared.apply(params, condition)), expected, atol=1e-5)
