"""Laws of patches: images as lines of them, and back."""

import jax
import numpy as np

from resgen_jax.nn import patches


def images(height, width, channels=3):
    drawn = np.random.default_rng(0).normal(size=(2, height, width, channels))
    return drawn.astype(np.float32)


def test_a_patch_is_cut_out_of_its_place_with_colours_fastest():
    given = images(4, 6)
    found = patches.split(jax.numpy.asarray(given), 2)
    assert found.shape == (2, 6, 12)
    for row, column in np.ndindex(2, 3):
        cut = given[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(found[:, 3 * row + column], cut.reshape(2, -1))


def test_joined_patches_are_the_image():
    given = images(4, 6)
    again = patches.join(patches.split(jax.numpy.asarray(given), 2), (2, 3), 2)
    np.testing.assert_array_equal(again, given)


def test_a_dense_layer_on_patches_is_a_convolution():
    given = jax.numpy.asarray(images(4, 6))
    kernel = jax.random.normal(jax.random.key(1), (2, 2, 3, 5))
    order = ("NHWC", "HWIO", "NHWC")
    wanted = jax.lax.conv_general_dilated(given, kernel, (2, 2), "VALID", dimension_numbers=order)
    found = patches.split(given, 2) @ kernel.reshape(-1, 5)
    np.testing.assert_allclose(found, wanted.reshape(2, 6, 5), atol=1e-5)
