"""Measures of one image against another, pixel by pixel."""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import errors

SSIM_SIDE, SSIM_SIGMA = 11, 1.5  # of the Gaussian window, in pixels
SSIM_K1, SSIM_K2 = 0.01, 0.03
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601


def mean_squared_error(
    images: Float[Array, "b h w c"], references: Float[Array, "b h w c"]
) -> Float[Array, "b"]:
    """Mean squared difference of each image, over all its pixels and colours."""
    return jnp.mean((images - references) ** 2, axis=(1, 2, 3))


def psnr(
    images: Float[Array, "b h w c"], references: Float[Array, "b h w c"], *, value_range: float
) -> Float[Array, "b"]:
    """Peak signal-to-noise ratio of each image in dB; infinite for equal images.

    `value_range` is the largest value minus the smallest that a pixel can take: 2 for [-1, 1],
    255 for bytes.
    """
    error = mean_squared_error(images, references)
    return 10 * jnp.log10(value_range**2 / error)


def ssim(
    images: Float[Array, "b h w c"], references: Float[Array, "b h w c"], *, value_range: float
) -> Float[Array, "b"]:
    """Structural similarity of each image: 1 for equal images (Wang et al. 2004).

    Gaussian window of 11 x 11 with sigma 1.5, moments weighted by it (no N - 1), K1 = 0.01,
    K2 = 0.03, windows wholly inside the image alone; the mean over windows, then over colours, each
    taken by itself. Values may start anywhere in PSNR but not here: `value_range` is also their
    upper end, so shift [-1, 1] to [0, 2] first. Raises UserError for a side under 11 pixels.
    """
    height, width = images.shape[1:3]
    if min(height, width) < SSIM_SIDE:
        raise errors.UserError(
            f"images are {height} x {width}; SSIM takes windows of {SSIM_SIDE} x {SSIM_SIDE}, so "
            f"expected sides of at least {SSIM_SIDE}"
        )
    mean_a, mean_b = _windowed(images), _windowed(references)
    variance_a = _windowed(images**2) - mean_a**2
    variance_b = _windowed(references**2) - mean_b**2
    covariance = _windowed(images * references) - mean_a * mean_b
    floor_1, floor_2 = (SSIM_K1 * value_range) ** 2, (SSIM_K2 * value_range) ** 2
    luminance = (2 * mean_a * mean_b + floor_1) / (mean_a**2 + mean_b**2 + floor_1)
    structure = (2 * covariance + floor_2) / (variance_a + variance_b + floor_2)
    return jnp.mean(luminance * structure, axis=(1, 2, 3))


def ssim_luma(
    images: Float[Array, "b h w c"], references: Float[Array, "b h w c"], *, value_range: float
) -> Float[Array, "b"]:
    """`ssim` of the luma alone, as many papers on colour images report it."""
    return ssim(luma(images), luma(references), value_range=value_range)


def luma(images: Float[Array, "b h w c"]) -> Float[Array, "b h w 1"]:
    """0.299 R + 0.587 G + 0.114 B (BT.601, full range); gray images as they are."""
    if images.shape[-1] == 1:
        return images
    return jnp.sum(images * jnp.array(LUMA)[None, None, None, :], axis=-1, keepdims=True)


def _windowed(values: Float[Array, "b h w c"]) -> Float[Array, "b i j c"]:
    """Gaussian-weighted mean of every window; two passes of shifted sums, cheap on a CPU too."""
    reach = SSIM_SIDE // 2
    weights = [math.exp(-(shift**2) / (2 * SSIM_SIGMA**2)) for shift in range(-reach, reach + 1)]
    weights = [weight / sum(weights) for weight in weights]
    rows, columns = values.shape[1] - 2 * reach, values.shape[2] - 2 * reach
    down = sum(weight * values[:, i : i + rows] for i, weight in enumerate(weights))
    return sum(weight * down[:, :, i : i + columns] for i, weight in enumerate(weights))
