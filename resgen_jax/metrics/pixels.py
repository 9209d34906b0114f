"""Measures of one image against another, pixel by pixel."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import errors

SSIM_SIDE, SSIM_SIGMA = 11, 1.5  # of the Gaussian window, in pixels
SSIM_K1, SSIM_K2 = 0.01, 0.03
_BELLS = [math.exp(-((i - SSIM_SIDE // 2) ** 2) / (2 * SSIM_SIGMA**2)) for i in range(SSIM_SIDE)]
WEIGHTS = [bell / sum(_BELLS) for bell in _BELLS]  # of a window's rows, and of its columns
LUMA = (0.299, 0.587, 0.114)  # ITU-R BT.601

Pair = tuple[Array, Array]  # of the images and of the references
Triple = tuple[Array, Array, Array]  # of the images, of the references, of both


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
    (mean_a, mean_b), (variance_a, variance_b, covariance) = _moments(images, references)
    floor_1, floor_2 = (SSIM_K1 * value_range) ** 2, (SSIM_K2 * value_range) ** 2
    # As what is lacking to 1: in float32 neither luminance nor the mean would tell 1 from 0.99999.
    luminance = (mean_a - mean_b) ** 2 / (mean_a**2 + mean_b**2 + floor_1)
    structure = (variance_a + variance_b - 2 * covariance) / (variance_a + variance_b + floor_2)
    lacking = luminance + structure - luminance * structure
    return 1 - jnp.mean(lacking, axis=(1, 2, 3))


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


def _moments(
    images: Float[Array, "b h w c"], references: Float[Array, "b h w c"]
) -> tuple[Pair, Triple]:
    """Gaussian-weighted means of every window, and both variances and the covariance about them.

    Two passes of shifted sums, cheap on a CPU too: windows of columns, then windows of those.
    """
    nothing = jnp.zeros_like(images)
    moments = (images, references), (nothing, nothing, nothing)
    for axis in (1, 2):
        moments = _gathered(*moments, axis)
    return moments


def _gathered(means: Pair, spreads: Triple, axis: int) -> tuple[Pair, Triple]:
    """Moments of windows along an axis from those of the places in them: the law of total variance.

    Offsets are from the place in the middle: E[x^2] - E[x]^2 of the values themselves would lose
    the variance of nearly flat windows to rounding.
    """
    size = means[0].shape[axis] - SSIM_SIDE + 1

    def window(values):
        return [jax.lax.slice_in_dim(values, i, i + size, axis=axis) for i in range(SSIM_SIDE)]

    def weighted(parts):
        return sum(weight * part for weight, part in zip(WEIGHTS, parts, strict=True))

    parts = [window(mean) for mean in means]
    middles = [each[SSIM_SIDE // 2] for each in parts]
    offsets = [
        [part - middle for part in each] for each, middle in zip(parts, middles, strict=True)
    ]
    shifts = [weighted(each) for each in offsets]
    gathered = []
    for spread, (one, other) in zip(spreads, ((0, 0), (1, 1), (0, 1)), strict=True):
        products = weighted(a * b for a, b in zip(offsets[one], offsets[other], strict=True))
        between = products - shifts[one] * shifts[other]
        gathered.append(weighted(window(spread)) + between)
    means = tuple(middle + shift for middle, shift in zip(middles, shifts, strict=True))
    return means, tuple(gathered)
