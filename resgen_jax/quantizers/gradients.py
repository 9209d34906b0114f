"""What passes back through a quantizer: `quantized` in value, its gradient to the latents."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

# Shorter vectors have no direction to speak of.
SMALLEST_LENGTH = 1e-6


def straight_through(
    latents: Float[Array, "*n c"], quantized: Float[Array, "*n c"]
) -> Float[Array, "*n c"]:
    """`quantized` exactly, with the gradient of the identity to `latents`."""
    return jax.lax.stop_gradient(quantized) + (latents - jax.lax.stop_gradient(latents))


def rotation(
    latents: Float[Array, "*n c"], quantized: Float[Array, "*n c"]
) -> Float[Array, "*n c"]:
    """`quantized` exactly, with the gradient of the rotation and stretch from `latents` to it.

    The rotation in the plane of the two vectors, and the ratio of their lengths, are held fixed
    (Fifty et al. 2024, section 4.2). Latents of length 0 have no direction and get the identity.
    """
    start, end = jax.lax.stop_gradient((latents, quantized))
    length = jnp.linalg.norm(start, axis=-1, keepdims=True)
    has_direction = length > SMALLEST_LENGTH
    from_unit, to_unit = _unit(start), _unit(end)
    half_way = _unit(from_unit + to_unit)
    # R x = x - 2 <x, w> w + 2 <x, u> q, with w half-way between u and q.
    moved = latents - 2.0 * _dot(latents, half_way) * half_way
    moved = moved + 2.0 * _dot(latents, from_unit) * to_unit
    stretch = jnp.linalg.norm(end, axis=-1, keepdims=True) / jnp.where(has_direction, length, 1.0)
    moved = jnp.where(has_direction, stretch * moved, latents)
    return end + (moved - jax.lax.stop_gradient(moved))


GRADIENTS: dict[str, Callable[[Array, Array], Array]] = {
    "straight_through": straight_through,
    "rotation": rotation,
}


def directional(
    key: PRNGKeyArray,
    latents: Float[Array, "*n c"],
    quantized: Float[Array, "*n c"],
    variance: float = 5e-3,
) -> Float[Array, "*n c"]:
    """A vector near `quantized` whose distance from `latents` is theirs, its direction held fixed.

    The direction gets Gaussian noise of `variance` in each channel; the gradient moves latents and
    codebook alike, so no other loss has to (DiVeQ). With variance 0 the value is `quantized`.
    """
    difference = quantized - latents
    noise = math.sqrt(variance) * jax.random.normal(key, latents.shape, latents.dtype)
    direction = jax.lax.stop_gradient(_unit(difference + noise))
    # A root of zero has no gradient: a vector that is its own code moves nothing.
    square = jnp.sum(difference**2, axis=-1, keepdims=True)
    is_apart = square > SMALLEST_LENGTH**2
    distance = jnp.where(is_apart, jnp.sqrt(jnp.where(is_apart, square, 1.0)), 0.0)
    return latents + direction * distance


def _unit(vectors: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
    length = jnp.linalg.norm(vectors, axis=-1, keepdims=True)
    return vectors / jnp.maximum(length, SMALLEST_LENGTH)


def _dot(left: Float[Array, "*n c"], right: Float[Array, "*n c"]) -> Float[Array, "*n 1"]:
    return jnp.sum(left * right, axis=-1, keepdims=True)
