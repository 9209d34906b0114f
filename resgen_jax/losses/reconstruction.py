"""How far a reconstruction is from its image; one value per image, not reduced further."""

from collections.abc import Callable

import jax.numpy as jnp
from jaxtyping import Array, Float


def squared(images: Float[Array, "b h w c"], targets: Float[Array, "b h w c"]) -> Float[Array, "b"]:
    """Mean squared error over the pixels and channels of each image (L2)."""
    return jnp.mean((images - targets) ** 2, axis=(1, 2, 3))


def absolute(
    images: Float[Array, "b h w c"], targets: Float[Array, "b h w c"]
) -> Float[Array, "b"]:
    """Mean absolute error over the pixels and channels of each image (L1)."""
    return jnp.mean(jnp.abs(images - targets), axis=(1, 2, 3))


KINDS: dict[str, Callable] = {"l2": squared, "l1": absolute}
