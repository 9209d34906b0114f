"""Dropout as a pure function of a key; no key, no dropout."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray


def dropout(
    key: PRNGKeyArray | None, values: Float[Array, "..."], rate: float
) -> Float[Array, "..."]:
    """Zero a share `rate` of the values and scale up the rest; the identity without a key."""
    if key is None or rate == 0.0:
        return values
    is_kept = jax.random.bernoulli(key, 1.0 - rate, values.shape)
    return jnp.where(is_kept, values / (1.0 - rate), jnp.zeros_like(values))
