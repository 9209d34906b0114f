"""Laws of patches: images as lines of them, and back."""

import jax
import jax.numpy as jnp
import numpy as np
import PIL.Image
import pytest

from resgen_jax.core import errors
from resgen_jax.nn import patches


def images(height, width, channels=3):
    drawn = np.random.default_rng(0).normal(size=(2, height, width, channels))
    return drawn.astype(np.float32)


def test_a_patch_is_cut_out_of_its_place_with_colours_fastest():
    given = images(4, 6)
    found = patches.split(jnp.asarray(given), 2)
    assert found.shape == (2, 6, 12)
    for row, column in np.ndindex(2, 3):
        cut = given[:, 2 * row : 2 * row + 2, 2 * column : 2 * column + 2]
        np.testing.assert_array_equal(found[:, 3 * row + column], cut.reshape(2, -1))


def test_joined_patches_are_the_image():
    given = images(4, 6)
    again = patches.join(patches.split(jnp.asarray(given), 2), (2, 3), 2)
    np.testing.assert_array_equal(again, given)


def test_a_dense_layer_on_patches_is_a_convolution():
    given = jnp.asarray(images(4, 6))
    kernel = jax.random.normal(jax.random.key(1), (2, 2, 3, 5))
    order = ("NHWC", "HWIO", "NHWC")
    wanted = jax.lax.conv_general_dilated(given, kernel, (2, 2), "VALID", dimension_numbers=order)
    found = patches.split(given, 2) @ kernel.reshape(-1, 5)
    np.testing.assert_allclose(found, wanted.reshape(2, 6, 5), atol=1e-5)


def by_pillow(maps, new_grid):
    """Each channel of "h w d" as an image of floats, resized by Pillow with antialiasing."""
    size = new_grid[::-1]
    resized = [
        np.asarray(PIL.Image.fromarray(one).resize(size, PIL.Image.Resampling.BICUBIC))
        for one in np.moveaxis(np.asarray(maps, np.float32), -1, 0)
    ]
    return np.stack(resized, axis=-1)


@pytest.mark.parametrize("new_grid", [(5, 2), (3, 9), (2, 3), (7, 8)])
@pytest.mark.parametrize("num_others", [0, 1, 5])
def test_positions_on_another_grid_are_pillows(new_grid, num_others):
    table = np.random.default_rng(0).normal(size=(num_others + 12, 4)).astype(np.float32)
    resize = jax.jit(patches.resize_positions, static_argnums=(1, 2))
    found = resize(jnp.asarray(table), (3, 4), new_grid)
    np.testing.assert_array_equal(found[:num_others], table[:num_others])
    wanted = by_pillow(table[num_others:].reshape(3, 4, 4), new_grid).reshape(-1, 4)
    np.testing.assert_allclose(found[num_others:], wanted, atol=1e-5)


def test_positions_on_the_same_grid_stay():
    table = jax.random.normal(jax.random.key(0), (13, 4))
    np.testing.assert_allclose(patches.resize_positions(table, (3, 4), (3, 4)), table, atol=1e-6)


@pytest.mark.parametrize(("old", "new"), [(14, 16), (3, 8), (4, 4)])
def test_a_kernel_answers_to_a_larger_patch_as_before(old, new):
    random = np.random.default_rng(0)
    kernel = random.normal(size=(old, old, 3, 2)).astype(np.float32)
    patch = random.normal(size=(old, old, 3)).astype(np.float32)
    found = patches.resize_kernel(jnp.asarray(kernel), new)
    answer = np.einsum("ijc,ijcd->d", by_pillow(patch, (new, new)), found)
    np.testing.assert_allclose(answer, np.einsum("ijc,ijcd->d", patch, kernel), atol=1e-3)


@pytest.mark.parametrize("new", [3, 6])
def test_a_kernel_is_that_of_the_pseudo_inverse(new):
    """Of the whole matrix, whose columns are resized patches with one pixel set."""
    kernel = np.random.default_rng(0).normal(size=(5, 5, 3, 2)).astype(np.float32)
    pixels = np.eye(25).reshape(5, 5, 25)
    matrix = by_pillow(pixels, (new, new)).reshape(new * new, 25).astype(np.float64)
    wanted = np.linalg.pinv(matrix.T) @ kernel.reshape(25, -1)
    found = patches.resize_kernel(jnp.asarray(kernel), new)
    np.testing.assert_allclose(found, wanted.reshape(new, new, 3, 2), atol=1e-4)


def test_what_cannot_be_resized_is_refused():
    table = jnp.zeros((5, 2))
    with pytest.raises(errors.UserError, match=r"5 positions of a grid of \(2, 3\) to \(4, 4\)"):
        patches.resize_positions(table, (2, 3), (4, 4))
    with pytest.raises(errors.UserError, match="sides of 1 or more"):
        patches.resize_positions(table, (2, 2), (0, 4))
    with pytest.raises(errors.UserError, match="patch_size is 0; expected at least 1"):
        patches.resize_kernel(jnp.zeros((2, 2, 3, 4)), 0)
