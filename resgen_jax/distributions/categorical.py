"""Draws from softmax probabilities by one uniform number a row."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key


def sample(key: Key[Array, ""], logits: Float[Array, "... v"]) -> Int[Array, "..."]:
    """An entry for each row of logits, by its softmax probability; never one of minus infinity.

    The inverse of the cumulative probability, found among blocks of entries and then within one:
    `jax.random.categorical` draws a number for every entry, which costs many times as much where
    entries are many.
    """
    size = logits.shape[-1]
    block = math.isqrt(max(size - 1, 0)) + 1
    missing = -size % block
    logits = jnp.pad(
        logits, [(0, 0)] * (logits.ndim - 1) + [(0, missing)], constant_values=-jnp.inf
    )
    weight = jnp.exp(logits - jnp.max(logits, axis=-1, keepdims=True))
    blocks = weight.reshape(*weight.shape[:-1], -1, block)
    sums = jnp.sum(blocks, axis=-1)
    until = jnp.cumsum(sums, axis=-1)
    aim = until[..., -1] * jax.random.uniform(key, logits.shape[:-1], logits.dtype)
    row = _first_above(until, aim, sums)
    aim = aim - jnp.take_along_axis(until - sums, row[..., None], axis=-1)[..., 0]
    inside = jnp.take_along_axis(blocks, row[..., None, None], axis=-2)[..., 0, :]
    entry = _first_above(jnp.cumsum(inside, axis=-1), jnp.maximum(aim, 0), inside)
    return (row * block + entry).astype(jnp.int32)


def _first_above(until: Array, aim: Array, weight: Array) -> Array:
    """The first place whose cumulative weight is above `aim`; the heaviest if there is none."""
    found = jnp.sum(until <= aim[..., None], axis=-1)
    return jnp.where(found < until.shape[-1], found, jnp.argmax(weight, axis=-1))
