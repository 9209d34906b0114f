"""SoftVQ of parts of the channels, side by side, and of what coarser levels leave."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, codebook, cosine, segments, soft_vq

# Shorter remainders have no direction to speak of, and a root of zero has no gradient.
SMALLEST_SQUARE = 1e-12


def split_channels(
    latents: Float[Array, "b l c"], num_codebooks: int
) -> Float[Array, "b parts part"]:
    """Parts of the channels as segments of a sequence, all first parts first.

    For `soft_vq.quantize_for_training` of a product. Raises UserError where the channels do not
    divide.
    """
    batch, length, channels = latents.shape
    if num_codebooks < 1 or channels % num_codebooks:
        raise errors.UserError(
            f"latents have {channels} channels, which {num_codebooks} codebooks cannot share "
            "evenly; give a number of codebooks that divides them"
        )
    parts = latents.reshape(batch, length, num_codebooks, -1).swapaxes(1, 2)
    return parts.reshape(batch, num_codebooks * length, -1)


def join_channels(parts: Float[Array, "b parts part"], num_codebooks: int) -> Float[Array, "b l c"]:
    """What `split_channels` took apart."""
    batch, length, _ = parts.shape
    sides = parts.reshape(batch, num_codebooks, length // num_codebooks, -1).swapaxes(1, 2)
    return sides.reshape(batch, length // num_codebooks, -1)


def quantize_product(
    latents: Float[Array, "b l c"],
    codebooks: Float[Array, "g v part"],
    temperature: float | Float[Array, ""] = soft_vq.TEMPERATURE,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Float[Array, "b l c"]:
    """Product SoftVQ: codebook 0 quantizes the first c / g channels of all positions, and so on.

    Each part is a `soft_vq.quantize` by itself: of its own direction, and of lengths up to 1.
    Raises UserError unless the channels are those of all codebooks together.
    """
    segments.check_ranks(latents, codebooks)
    num_codebooks, _, part = codebooks.shape
    if latents.shape[-1] != num_codebooks * part:
        raise errors.UserError(
            f"latents have {latents.shape[-1]} channels; {num_codebooks} codebooks of {part} "
            f"channels take {num_codebooks * part}: give them codebooks whose channels add up"
        )
    parts = split_channels(latents, num_codebooks)
    quantized = soft_vq.quantize(parts, codebooks, temperature, max_distances=max_distances)
    return join_channels(quantized, num_codebooks)


def quantize_residual(
    latents: Float[Array, "b l c"],
    codebooks: Float[Array, "q v c"],
    temperature: float | Float[Array, ""] = soft_vq.TEMPERATURE,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Float[Array, "b l c"]:
    """Residual SoftVQ: each level quantizes what coarser ones leave of the latents' directions.

    A level is a `soft_vq.quantize` of the residual's direction times the residual's length, for
    cosines do not see lengths: without it a fine level would be as long as a coarse one. Coarse
    codebooks are moved by what they leave to finer levels, too. The paper calls residual
    codebooks compatible and does not say how; this scale is ours. Raises UserError as
    `soft_vq.quantize` does.
    """
    segments.check_ranks(latents, codebooks)
    codebook.check_code_dim(latents, codebooks)
    soft_vq.check_temperature(temperature)

    def level(carry, table):
        total, residual, length = carry
        found = length * soft_vq.quantize(
            residual, table[None], temperature, max_distances=max_distances
        )
        residual = residual - found
        square = jnp.sum(residual**2, axis=-1, keepdims=True)
        length = jnp.sqrt(jnp.maximum(square, SMALLEST_SQUARE))
        return (total + found, residual, length), None

    directions = cosine.normalise(latents.astype(jnp.float32))
    start = jnp.zeros_like(directions), directions, jnp.ones_like(directions[..., :1])
    return jax.lax.scan(level, start, codebooks)[0][0]
