"""Losses over masked codes: summed up and counted, or split by level."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def masked_sum(
    position_loss: Float[Array, "b l"],
    is_masked: Bool[Array, "b l q"],
    is_valid: Bool[Array, "b l"],
) -> Float[Array, ""]:
    """Sum over the valid positions that hide something."""
    is_scored = jnp.any(is_masked, axis=-1) & is_valid
    return jnp.sum(position_loss, where=is_scored)


def num_masked(is_masked: Bool[Array, "b l q"], is_valid: Bool[Array, "b l"]) -> Float[Array, ""]:
    """Masked tokens of the valid positions, at least 1: what a loss per token divides by.

    It counts tokens, not positions (ResGen section 3.3), and those of the whole batch: a mean of
    the ratios of its parts would weigh the tokens of a part with few of them more.
    """
    count = jnp.sum(is_masked & is_valid[..., None])
    return jnp.maximum(count, 1).astype(jnp.float32)


def code_nll(logits: Float[Array, "*n v"], codes: Int[Array, "*n"]) -> Float[Array, "*n"]:
    """Cross-entropy of each code in nats, computed in float32."""
    logits = logits.astype(jnp.float32)
    chosen = jnp.take_along_axis(logits, codes[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - chosen


def per_level_nll(
    logits: Float[Array, "b l q v"],
    codes: Int[Array, "b l q"],
    is_masked: Bool[Array, "b l q"],
) -> Float[Array, "q"]:
    """Mean cross-entropy of each level over its masked tokens; 0 for a level without any."""
    nll = code_nll(logits, codes)
    num_masked = jnp.sum(is_masked, axis=(0, 1))
    return jnp.sum(nll, axis=(0, 1), where=is_masked) / jnp.maximum(num_masked, 1).astype(nll.dtype)
