"""Losses that hold latents and codebook vectors together, and that keep codes apart and in use."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


def commitment_loss(
    latents: Float[Array, "*n c"], quantized: Float[Array, "*n c"]
) -> Float[Array, "*n"]:
    """Mean squared distance over channels; moves the encoder, never the codebook."""
    return _mean_square(latents - jax.lax.stop_gradient(quantized))


def codebook_loss(
    latents: Float[Array, "*n c"], quantized: Float[Array, "*n c"]
) -> Float[Array, "*n"]:
    """Mean squared distance over channels; moves the codebook, never the encoder."""
    return _mean_square(jax.lax.stop_gradient(latents) - quantized)


def prefix_commitment_loss(
    latents: Float[Array, "*n c"], partial_sums: Float[Array, "*n q c"]
) -> Float[Array, "*n"]:
    """`commitment_loss` to what every prefix of the codes decodes to, added up over the levels."""
    return jnp.sum(_mean_square(latents[..., None, :] - jax.lax.stop_gradient(partial_sums)), -1)


def entropy_loss(
    logits: Float[Array, "*n v"],
    diversity_weight: float | Float[Array, ""] = 1.0,
    is_valid: Bool[Array, "*n"] | None = None,
) -> Float[Array, ""]:
    """Mean entropy of a vector's soft code, less `diversity_weight` times that of their mean.

    Low where each vector is sure of its code and all codes are used alike (MAGVIT-v2 section 3.1).
    """
    rows = logits.reshape(-1, logits.shape[-1])
    is_row = jnp.ones(len(rows), bool) if is_valid is None else is_valid.reshape(-1)
    shares = jax.nn.softmax(rows, axis=-1)
    num_rows = jnp.maximum(jnp.sum(is_row.astype(jnp.float32)), 1.0)
    entropies = -jnp.sum(shares * jax.nn.log_softmax(rows, axis=-1), axis=-1)
    of_vectors = jnp.sum(entropies, where=is_row) / num_rows
    return of_vectors - diversity_weight * _mean_entropy(shares, is_row, num_rows)


def diversity_loss(
    logits: Float[Array, "*n v"], is_valid: Bool[Array, "*n"] | None = None
) -> Float[Array, ""]:
    """Minus the entropy of the mean soft code: lowest, -log v, where all codes are used alike."""
    rows = logits.reshape(-1, logits.shape[-1])
    is_row = jnp.ones(len(rows), bool) if is_valid is None else is_valid.reshape(-1)
    num_rows = jnp.maximum(jnp.sum(is_row.astype(jnp.float32)), 1.0)
    return -_mean_entropy(jax.nn.softmax(rows, axis=-1), is_row, num_rows)


def orthogonal_loss(
    codebook: Float[Array, "v c"], is_active: Bool[Array, "v"] | None = None
) -> Float[Array, ""]:
    """Mean squared cosine between codes, each with itself left out of the sum but not the count.

    Zero where all are orthogonal (Shin et al. 2021, equation 2). Only active codes have a part, all
    unless given. No array of code pairs is made: |E E^T|^2 = |E^T E|^2.
    """
    square = jnp.sum(codebook**2, axis=-1, keepdims=True)
    units = codebook * jax.lax.rsqrt(jnp.maximum(square, 1e-12))
    is_active = jnp.ones(len(codebook), bool) if is_active is None else is_active
    units = jnp.where(is_active[:, None], units, 0.0)
    count = jnp.maximum(jnp.sum(is_active.astype(jnp.float32)), 1.0)
    gram = jnp.einsum("vc,vd->cd", units, units, precision=jax.lax.Precision.HIGHEST)
    return jnp.sum(gram**2) / count**2 - 1.0 / count


def _mean_entropy(shares, is_row, num_rows) -> Float[Array, ""]:
    mean = jnp.sum(shares, axis=0, where=is_row[:, None]) / num_rows
    # Bounded, because a share that underflows to zero has an entropy of infinite slope.
    return -jnp.sum(mean * jnp.log(jnp.maximum(mean, 1e-20)))


def _mean_square(difference: Float[Array, "... c"]) -> Float[Array, "..."]:
    return jnp.mean(difference**2, axis=-1)
