"""Losses of networks that predict vectors."""

import jax.numpy as jnp
from jaxtyping import Array, Float


def mean_squared_error(
    predicted: Float[Array, "b *n"], target: Float[Array, "b *n"]
) -> Float[Array, "b"]:
    """Mean over all numbers of each example, in float32 or wider."""
    wide = jnp.float64 if target.dtype == jnp.float64 else jnp.float32
    apart = predicted.astype(wide) - target.astype(wide)
    return jnp.mean(apart**2, axis=tuple(range(1, apart.ndim)))
