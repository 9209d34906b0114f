"""Laws of positions: rotary ones against complex numbers, fixed ones against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_diffusion_transformer
import numpy_networks
import pytest

from resgen_jax.core import errors
from resgen_jax.nn import positions


@pytest.fixture
def heads(key):
    return jax.random.normal(key, (2, 6, 3, 8))


@pytest.mark.parametrize("grid", [(1, 6), (2, 3), (6, 1)])
def test_angles_are_those_of_rows_and_columns(grid):
    expected = numpy_networks.rotary_angles(grid, 8, 100.0)
    np.testing.assert_allclose(positions.rotary_angles(grid, 8, 100.0), expected, rtol=1e-6)


def test_a_grid_splits_its_pairs_between_row_and_column():
    angles = np.asarray(positions.rotary_angles((3, 4), 8, 100.0)).reshape(3, 4, 4)
    np.testing.assert_allclose(angles[:, :, :2], np.broadcast_to(angles[:, :1, :2], (3, 4, 2)))
    np.testing.assert_allclose(angles[:, :, 2:], np.broadcast_to(angles[:1, :, 2:], (3, 4, 2)))
    np.testing.assert_allclose(angles[2, 3], [2, 2 / 10, 3, 3 / 10], rtol=1e-6)


@pytest.mark.parametrize("grid", [(1, 6), (2, 3)])
def test_rotation_turns_complex_numbers(heads, grid):
    angles = positions.rotary_angles(grid, 8, 100.0)
    expected = numpy_networks.rotate(np.asarray(heads, np.float64), np.asarray(angles, np.float64))
    np.testing.assert_allclose(positions.rotate(heads, angles), expected, atol=1e-5)


def test_rotation_keeps_norms(heads):
    turned = positions.rotate(heads, positions.rotary_angles((2, 3), 8, 100.0))
    assert np.max(np.abs(turned - heads)) > 0.1
    pairs, before = turned.reshape(2, 6, 3, 4, 2), heads.reshape(2, 6, 3, 4, 2)
    np.testing.assert_allclose(
        jnp.sum(pairs**2, axis=-1), jnp.sum(before**2, axis=-1), rtol=1e-4, atol=1e-6
    )


def test_products_depend_on_the_difference_of_places_alone(key):
    rows, columns = 3, 4
    # The same query and the same key stand at every place.
    query, key_vector = jax.random.normal(key, (2, 8))
    angles = positions.rotary_angles((rows, columns), 8, 100.0)

    def everywhere(vector):
        heads = jnp.broadcast_to(vector, (1, rows * columns, 1, 8))
        return positions.rotate(heads, angles)[0, :, 0]

    products = np.asarray(everywhere(query) @ everywhere(key_vector).T)
    products = products.reshape(rows, columns, rows, columns)
    np.testing.assert_allclose(products[1:, :, 1:], products[:-1, :, :-1], atol=1e-5)
    np.testing.assert_allclose(products[:, 1:, :, 1:], products[:, :-1, :, :-1], atol=1e-5)
    # Rows and columns are told apart.
    assert abs(products[0, 0, 1, 0] - products[0, 0, 0, 1]) > 1e-3


def test_low_precision_heads_turn_in_float32(heads):
    angles = positions.rotary_angles((2, 3), 8, 100.0)
    low = heads.astype(jnp.bfloat16)
    expected = positions.rotate(low.astype(jnp.float32), angles).astype(jnp.bfloat16)
    turned = positions.rotate(low, angles)
    assert turned.dtype == jnp.bfloat16
    np.testing.assert_array_equal(turned.astype(jnp.float32), expected.astype(jnp.float32))


def test_a_head_too_narrow_is_refused():
    with pytest.raises(errors.UserError, match="head width 6 .* multiple of 4, or rotary_base=0"):
        positions.rotary_angles((2, 3), 6, 100.0)
    assert positions.rotary_angles((1, 3), 6, 100.0).shape == (3, 3)


def test_a_line_has_sines_on_even_channels_and_cosines_on_odd_ones():
    wanted = numpy_diffusion_transformer.positions(9, 6)
    np.testing.assert_allclose(positions.line(9, 6), wanted, atol=1e-6)
    np.testing.assert_allclose(positions.line(2, 4)[1], [np.sin(1), np.cos(1), 0.01, 1], atol=1e-4)


def test_waves_are_cosines_and_then_sines_of_any_places():
    places = jnp.array([[0.0, 0.3], [700.0, 2.0]])
    found = positions.waves(places, 256)
    for index in np.ndindex(2, 2):
        wanted = numpy_diffusion_transformer.waves(float(places[index]))
        np.testing.assert_allclose(found[index], wanted, atol=1e-4)
