"""Codes without a codebook: finite scalar (FSQ) and lookup-free (LFQ) quantization."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, codebook, gradients

# How far the bound of FSQ reaches past its outer levels, so that they can be reached.
MARGIN = 1e-3
SMALLEST_SHARE = 1e-20


def fsq_size(levels: tuple[int, ...]) -> int:
    """Number of codes; raises UserError for fewer than 3 levels in a channel or 2^31 codes."""
    if not levels or min(levels) < 3:
        raise errors.UserError(
            f"levels are {levels}; expected 3 or more in each channel (for signs there is LFQ)"
        )
    size = math.prod(levels)
    if size >= 2**31:
        raise errors.UserError(f"levels {levels} make {size} codes; expected less than 2^31")
    return size


def fsq_quantize(latents: Float[Array, "*n c"], levels: tuple[int, ...]) -> Float[Array, "*n c"]:
    """Each channel bounded by tanh and rounded to one of its levels in [-1, 1], in float32.

    The rounding passes the gradient on, the bound has its own. An even number of levels is shifted
    by a half, so that zero lies on a level (Mentzer et al. 2023, section 3.1 and appendix A.1).
    """
    fsq_size(levels)
    check_channels(latents, levels)
    half, offset, count = _per_channel(levels, latents.ndim)
    bounded = jnp.tanh(latents.astype(jnp.float32) + jnp.arctanh(offset / half)) * half - offset
    return gradients.straight_through(bounded, jnp.round(bounded)) / (count // 2.0)


def fsq_encode(latents: Float[Array, "*n c"], levels: tuple[int, ...]) -> Int[Array, "*n"]:
    """The codes of `fsq_quantize`, the first channel's level counting least."""
    quantized = fsq_quantize(jax.lax.stop_gradient(latents), levels)
    half_width = _per_channel(levels, latents.ndim)[2] // 2.0
    digits = jnp.round(quantized * half_width + half_width).astype(jnp.int32)
    return jnp.sum(digits * places(levels, latents.ndim), axis=-1)


def fsq_decode(codes: Int[Array, "*n"], levels: tuple[int, ...]) -> Float[Array, "*n c"]:
    """The vector of each code, as `fsq_quantize` gives it."""
    fsq_size(levels)
    rank = codes.ndim + 1
    counts = jnp.asarray(levels, jnp.int32).reshape(*(1,) * codes.ndim, -1)
    digits = codes.astype(jnp.int32)[..., None] // places(levels, rank) % counts
    half_width = _per_channel(levels, rank)[2] // 2.0
    return (digits.astype(jnp.float32) - half_width) / half_width


def lfq_quantize(latents: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
    """The sign of each channel, -1 or 1, with the gradient of the identity (MAGVIT-v2)."""
    return gradients.straight_through(latents, jnp.where(latents > 0, 1.0, -1.0))


def lfq_encode(latents: Float[Array, "*n c"]) -> Int[Array, "*n"]:
    """The signs as the bits of a number, the first channel's counting most."""
    worth = _bit_places(latents.shape[-1], latents.ndim)
    return jnp.sum(jnp.where(latents > 0, worth, 0), axis=-1)


def lfq_decode(codes: Int[Array, "*n"], num_bits: int) -> Float[Array, "*n c"]:
    """The signs of each code."""
    worth = _bit_places(num_bits, codes.ndim + 1)
    return jnp.where(codes.astype(jnp.int32)[..., None] // worth % 2 > 0, 1.0, -1.0)


def lfq_logits(
    latents: Float[Array, "*n c"], temperature: float | Float[Array, ""]
) -> Float[Array, "*n v"]:
    """Log-odds of all 2^c codes, -|x - e|^2 / temperature but for a part common to them."""
    table = lfq_decode(jnp.arange(2 ** latents.shape[-1]), latents.shape[-1])
    product = jnp.einsum("...c,vc->...v", latents, table, precision=codebook.PRECISION)
    return 2.0 * product / temperature


def lfq_entropy_loss(
    latents: Float[Array, "*n c"],
    temperature: float | Float[Array, ""] = 0.01,
    diversity_weight: float | Float[Array, ""] = 1.0,
    is_valid: Bool[Array, "*n"] | None = None,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Float[Array, ""]:
    """Mean entropy of a vector's soft code, less that of their mean (MAGVIT-v2 section 3.1).

    Low where each vector is sure of its code and all codes are used alike. As
    `losses.quantization.entropy_loss` of `lfq_logits`, chunk by chunk.
    """
    rows = latents.astype(jnp.float32).reshape(-1, latents.shape[-1])
    is_row = jnp.ones(len(rows), bool) if is_valid is None else is_valid.reshape(-1)
    num_rows = jnp.maximum(jnp.sum(is_row.astype(jnp.float32)), 1.0)
    # The bits of a vector are independent: p(bit) = sigmoid(4 x / temperature).
    odds = jnp.abs(4.0 * rows / temperature)
    entropies = jax.nn.softplus(-odds) + odds * jax.nn.sigmoid(-odds)
    of_vectors = jnp.sum(entropies, where=is_row[:, None]) / num_rows
    count = chunks.num_chunks(len(rows), 2 ** rows.shape[-1], max_distances)

    @jax.checkpoint
    def add(total, chunk):
        part, is_part = chunk
        shares = jax.nn.softmax(lfq_logits(part, temperature), axis=-1)
        return total + jnp.sum(shares, axis=0, where=is_part[:, None]), None

    parts = chunks.split(rows, count), chunks.split(is_row, count)
    total, _ = jax.lax.scan(add, jnp.zeros(2 ** rows.shape[-1]), parts)
    mean = total / num_rows
    # Bounded, because a share that underflows to zero has an entropy of infinite slope.
    of_batch = -jnp.sum(mean * jnp.log(jnp.maximum(mean, SMALLEST_SHARE)))
    return of_vectors - diversity_weight * of_batch


def _per_channel(levels, rank: int):
    """Half the range of the bound, the shift of even levels and the levels, to broadcast."""
    count = jnp.asarray(levels, jnp.float32).reshape(*(1,) * (rank - 1), -1)
    half = (count - 1.0) * (1.0 + MARGIN) / 2.0
    return half, jnp.where(count % 2.0 == 0.0, 0.5, 0.0), count


def places(levels: tuple[int, ...], rank: int) -> Int[Array, "..."]:
    """What one step of each channel adds to a code, to broadcast over arrays of that rank."""
    return jnp.asarray(np.cumprod((1, *levels[:-1])), jnp.int32).reshape(*(1,) * (rank - 1), -1)


def check_channels(latents: Float[Array, "..."], levels: tuple[int, ...]) -> None:
    """Raises UserError where there is not one number of levels for each channel."""
    if latents.shape[-1] != len(levels):
        raise errors.UserError(
            f"latents have {latents.shape[-1]} channels and there are {len(levels)} levels "
            f"{levels}; expected one for each channel"
        )


def _bit_places(num_bits: int, rank: int) -> Int[Array, "..."]:
    if not 1 <= num_bits <= 30:
        raise errors.UserError(f"latents have {num_bits} channels; LFQ expects 1 to 30")
    worth = 2 ** np.arange(num_bits - 1, -1, -1)
    return jnp.asarray(worth, jnp.int32).reshape(*(1,) * (rank - 1), -1)
