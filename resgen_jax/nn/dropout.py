"""Dropout as a pure function of a key; no key, no dropout."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray


def dropout(
    key: PRNGKeyArray | None, values: Float[Array, "..."], rate: float
) -> Float[Array, "..."]:
    """Zero a share `rate` of the values and scale up the rest; the identity without a key."""
    if key is None or rate == 0.0:
        return values
    is_kept = jax.random.bernoulli(key, 1.0 - rate, values.shape)
    return jnp.where(is_kept, values / (1.0 - rate), jnp.zeros_like(values))


def of_rows(
    keys: Key[Array, "b"] | None, values: Float[Array, "b ..."], rate: float
) -> Float[Array, "b ..."]:
    """As `dropout`, with a key for each row: the batch that a row is in does not matter."""
    if keys is None or rate == 0.0:
        return values
    return jax.vmap(dropout, in_axes=(0, 0, None))(keys, values, rate)
