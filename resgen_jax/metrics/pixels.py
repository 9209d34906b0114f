"""Measures of one image against another, pixel by pixel."""

import jax.numpy as jnp
from jaxtyping import Array, Float


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
