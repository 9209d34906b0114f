"""Losses of networks that predict vectors."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def mean_squared_error(
    predicted: Float[Array, "b *n"], target: Float[Array, "b *n"]
) -> Float[Array, "b"]:
    """Mean over all numbers of each example, in float32 or wider."""
    squared = _squared(predicted, target)
    return jnp.mean(squared, axis=tuple(range(1, squared.ndim)))


def position_errors(
    predicted: Float[Array, "*n c"], target: Float[Array, "*n c"]
) -> Float[Array, "*n"]:
    """Mean squared error over the channels of each position, in float32 or wider."""
    return jnp.mean(_squared(predicted, target), axis=-1)


def _squared(predicted: Array, target: Array) -> Array:
    wide = jnp.float64 if target.dtype == jnp.float64 else jnp.float32
    return (predicted.astype(wide) - target.astype(wide)) ** 2
