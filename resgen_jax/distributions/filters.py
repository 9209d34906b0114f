"""Filters on logits before a draw: what they drop becomes minus infinity."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def top_p(logits: Float[Array, "... v"], p: float | Float[Array, ""]) -> Float[Array, "... v"]:
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
