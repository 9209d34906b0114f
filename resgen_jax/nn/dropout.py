"""Dropout as a pure function of a key; no key, no dropout."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PRNGKeyArray


def dropout(
    key: PRNGKeyArray | None, values: Float[Array, "..."], rate: float
) -> Float[Array, "..."]:
    """Zero a share of the values and scale up the rest; the identity without a key.

    The share is `rate` to the nearest of 256 steps (never none, never all), so that one word of
    random bits decides on four values: to draw them is most of what dropout costs on CPU.
    """
    if key is None or rate == 0.0:
        return values
    num_dropped = min(max(round(256 * rate), 1), 255)
    is_kept = _bytes(key, values.shape) >= num_dropped
    return jnp.where(is_kept, values * (256 / (256 - num_dropped)), jnp.zeros_like(values))


def of_rows(
    keys: Key[Array, "b"] | None, values: Float[Array, "b ..."], rate: float
) -> Float[Array, "b ..."]:
    """As `dropout`, with a key for each row: the batch that a row is in does not matter."""
    if keys is None or rate == 0.0:
        return values
    return jax.vmap(dropout, in_axes=(0, 0, None))(keys, values, rate)


def _bytes(key: PRNGKeyArray, shape: tuple[int, ...]) -> Array:
    """Random bytes; the last axis is drawn four at a time where it divides."""
    if not shape or shape[-1] % 4:
        return jax.random.bits(key, shape, jnp.uint8)
    words = jax.random.bits(key, (*shape[:-1], shape[-1] // 4), jnp.uint32)
    return jax.lax.bitcast_convert_type(words, jnp.uint8).reshape(shape)
