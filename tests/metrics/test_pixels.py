"""PSNR by hand, SSIM against SciPy."""

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.ndimage

from resgen_jax.core import errors
from resgen_jax.metrics import pixels


def test_psnr_of_a_known_error_for_each_image():
    references = jnp.zeros((3, 4, 4, 3))
    images = references + jnp.array([0.1, 0.2, 0.0]).reshape(3, 1, 1, 1)
    result = np.asarray(pixels.psnr(images, references, value_range=1.0))
    np.testing.assert_allclose(result[:2], [20.0, 20 * np.log10(5)], rtol=1e-5)
    assert result[2] == np.inf


@pytest.mark.parametrize("scale", [0.5, 255.0])
def test_psnr_does_not_depend_on_the_unit(scale):
    random = np.random.default_rng(0)
    images, references = (jnp.asarray(random.random((2, 5, 6, 1)), jnp.float32) for _ in range(2))
    np.testing.assert_allclose(
        pixels.psnr(images, references, value_range=1.0),
        pixels.psnr(scale * images, scale * references, value_range=scale),
        rtol=1e-5,
    )


def ssim_by_scipy(image, reference, value_range):
    """Wang's formula, window by window, with SciPy's Gaussian cut to 11 pixels."""

    def mean(values):
        blurred = scipy.ndimage.gaussian_filter(values, 1.5, radius=5, mode="constant")
        return blurred[5:-5, 5:-5]

    mu_x, mu_y = mean(image), mean(reference)
    var_x, var_y = mean(image**2) - mu_x**2, mean(reference**2) - mu_y**2
    cov = mean(image * reference) - mu_x * mu_y
    c1, c2 = (0.01 * value_range) ** 2, (0.03 * value_range) ** 2
    top = (2 * mu_x * mu_y + c1) * (2 * cov + c2)
    return np.mean(top / ((mu_x**2 + mu_y**2 + c1) * (var_x + var_y + c2)))


@pytest.fixture
def pair():
    random = np.random.default_rng(0)
    references = scipy.ndimage.gaussian_filter(random.random((2, 17, 14, 3)), (0, 2, 2, 0)) * 400
    images = np.clip(references + random.normal(size=references.shape) * 12, 0, 255)
    return images.astype(np.float32), references.astype(np.float32)


def test_ssim_equals_scipy_colour_by_colour_and_of_the_luma(pair):
    images, references = pair
    exact = [values.astype(np.float64) for values in pair]
    by_colour = [
        [ssim_by_scipy(exact[0][i, ..., c], exact[1][i, ..., c], 255) for c in range(3)]
        for i in range(2)
    ]
    found = pixels.ssim(jnp.asarray(images), jnp.asarray(references), value_range=255.0)
    np.testing.assert_allclose(found, np.mean(by_colour, axis=1), atol=1e-6)
    weights = np.array([0.299, 0.587, 0.114])
    of_luma = [ssim_by_scipy(exact[0][i] @ weights, exact[1][i] @ weights, 255) for i in range(2)]
    found = pixels.ssim_luma(jnp.asarray(images), jnp.asarray(references), value_range=255.0)
    np.testing.assert_allclose(found, of_luma, atol=1e-6)


@pytest.mark.parametrize(("unit", "value_range"), [(1.0, 255.0), (1 / 127.5, 2.0)])
def test_ssim_of_flat_images_is_that_of_their_means(unit, value_range):
    for value in (0, 128, 200, 254):
        image = jnp.full((1, 64, 64, 1), value, jnp.float32)
        floor = (0.01 * 255) ** 2
        expected = (2 * value * (value + 1) + floor) / (value**2 + (value + 1) ** 2 + floor)
        found = pixels.ssim(image * unit, (image + 1) * unit, value_range=value_range)
        np.testing.assert_allclose(found, expected, atol=1e-6)
        assert pixels.ssim(image * unit, image * unit, value_range=value_range) == 1


def test_ssim_beside_an_edge_is_exact_too():
    # Flat, a step over the whole range, and faint noise on the other side of it.
    random = np.random.default_rng(1)
    reference = np.full((32, 48), 250.0)
    reference[:, 24:] = 3
    image = reference + np.where(np.arange(48) < 24, 1, random.integers(0, 2, (32, 48)))
    found = pixels.ssim(
        *(jnp.asarray(x[None, ..., None], jnp.float32) for x in (image, reference)),
        value_range=255.0,
    )
    np.testing.assert_allclose(found, ssim_by_scipy(image, reference, 255), atol=1e-6)


def test_ssim_of_equal_images_is_one_and_gray_is_its_own_luma(pair):
    gray = jnp.asarray(pair[0][..., :1])
    other = jnp.asarray(pair[1][..., :1])
    np.testing.assert_allclose(pixels.ssim(gray, gray, value_range=255.0), 1, rtol=1e-6)
    np.testing.assert_array_equal(
        pixels.ssim(gray, other, value_range=255.0),
        pixels.ssim_luma(gray, other, value_range=255.0),
    )


def test_ssim_needs_a_whole_window():
    small = jnp.zeros((1, 8, 20, 3))
    with pytest.raises(errors.UserError, match=r"images are 8 x 20.*sides of at least 11"):
        pixels.ssim(small, small, value_range=1.0)
