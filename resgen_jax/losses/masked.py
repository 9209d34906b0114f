"""Losses over masked codes: normalised by the number of masked tokens, or split by level."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int


def per_masked_token(
    position_loss: Float[Array, "b l"],
    num_hidden: Int[Array, "b l"],
    is_valid: Bool[Array, "b l"] | None = None,
) -> Float[Array, ""]:
    """Sum over positions that hide something, over the masked tokens of the whole batch.

    The denominator counts tokens, not positions (ResGen section 3.3); a batch without any gives 0.
    """
    is_scored = num_hidden > 0 if is_valid is None else (num_hidden > 0) & is_valid
    total = jnp.sum(position_loss, where=is_scored)
    num_tokens = jnp.sum(num_hidden, where=is_scored)
    return total / jnp.maximum(num_tokens, 1).astype(position_loss.dtype)


def code_nll(logits: Float[Array, "b l q v"], codes: Int[Array, "b l q"]) -> Float[Array, "b l q"]:
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
