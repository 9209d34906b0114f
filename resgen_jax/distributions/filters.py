"""Filters on logits before a draw: what they drop becomes minus infinity."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

MIN_TEMPERATURE = 1e-6


def keep(
    logits: Float[Array, "... v"],
    temperature: float | Float[Array | np.ndarray, ""] = 1.0,
    k: int | Int[Array | np.ndarray, ""] = 0,
    p: float | Float[Array | np.ndarray, ""] = 1.0,
) -> Float[Array, "... v"]:
    """Logits to draw from: divided by the temperature (0 = the likeliest), then both filters."""
    return top_p(top_k(logits / jnp.maximum(temperature, MIN_TEMPERATURE), k), p)


def top_k(
    logits: Float[Array, "... v"], k: int | Int[Array | np.ndarray, ""]
) -> Float[Array, "... v"]:
    """Logits of the `k` likeliest entries and of those tied with the last one; 0 keeps all.

    `k` may be traced; where it drops nothing, nothing is sorted.
    """
    drops_none = (jnp.asarray(k) <= 0) | (jnp.asarray(k) >= logits.shape[-1])
    return jax.lax.cond(drops_none, lambda logits, _: logits, _top_k, logits, jnp.asarray(k))


def _top_k(logits: Array, k: Array) -> Array:
    ascending = jnp.sort(logits, axis=-1)
    lowest = jnp.take(ascending, logits.shape[-1] - k, axis=-1)[..., None]
    return jnp.where(logits >= lowest, logits, -jnp.inf)


def top_p(
    logits: Float[Array, "... v"], p: float | Float[Array | np.ndarray, ""]
) -> Float[Array, "... v"]:
    """Logits of the smallest set of likeliest entries whose probabilities reach `p`.

    `p` may be traced; at 1 or more nothing is sorted. The likeliest entry always stays, and entries
    tied with the last one kept stay too, so the order of the entries does not matter.
    """
    return jax.lax.cond(jnp.asarray(p) >= 1, lambda logits, _: logits, _top_p, logits, p)


def _top_p(logits: Array, p: Array) -> Array:
    ranked = -jnp.sort(-logits, axis=-1)
    probability = jax.nn.softmax(ranked, axis=-1)
    before = jnp.cumsum(probability, axis=-1) - probability
    num_kept = jnp.maximum(jnp.sum(before < p, axis=-1, keepdims=True), 1)
    lowest = jnp.take_along_axis(ranked, num_kept - 1, axis=-1)
    return jnp.where(logits >= lowest, logits, -jnp.inf)
