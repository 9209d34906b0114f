"""Losses that hold latents and codebook vectors together; one value per vector, not reduced."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


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


def _mean_square(difference: Float[Array, "... c"]) -> Float[Array, "..."]:
    return jnp.mean(difference**2, axis=-1)
