"""Residual vector quantization: codes from coarse to fine, each for what the last ones left."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, codebook

# Its square, times any number of channels, is still a float32.
FAR = 1e15


def encode(
    latents: Float[Array, "*n c"],
    codebooks: Float[Array, "q v c"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Int[Array, "*n q"], Float[Array, "*n c"]]:
    """Codes from coarse to fine, and what is left after the last level.

    The remainder is float32. Raises UserError where the channels differ.
    """
    codebook.check_code_dim(latents, codebooks)
    flat = latents.reshape(-1, latents.shape[-1]).astype(jnp.float32)

    def level(residual, table):
        codes = codebook.nearest_code(residual, table, max_distances=max_distances)
        return residual - codebook.lookup(codes, table), codes

    remainder, codes = jax.lax.scan(level, flat, codebooks.astype(jnp.float32))
    return codes.T.reshape(*latents.shape[:-1], -1), remainder.reshape(latents.shape)


def encode_masked(
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    is_masked: Bool[Array, "*n q"],
    codebooks: Float[Array, "q v c"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Int[Array, "*n q"]:
    """New codes for the masked levels, whose sum `latents` stands for; visible codes are kept.

    The residual starts at the latent and only masked levels are taken from it, shallow to deep
    (ResGen section 4.1). Any mask will do, not only the deepest-first ones of ResGen.
    """

    def find(residual, table):
        return codebook.nearest_code(residual, table, max_distances=max_distances), None

    return _fill_in(latents, codes, is_masked, codebooks, find)[0]


def encode_masked_with_log_prob(
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    is_masked: Bool[Array, "*n q"],
    codebooks: Float[Array, "q v c"],
    log_scale: Float[Array, "*n"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Int[Array, "*n q"], Float[Array, "*n q"]]:
    """As `encode_masked`, with the log-probability of each code under its distances.

    softmax(-|residual - e|^2 / (2 exp(2 log_scale))) at every level; those of visible levels mean
    nothing. The distances are computed once, for the codes and their probabilities.
    """
    scale = log_scale.reshape(-1)

    def find(residual, table):
        return codebook.nearest_code_and_log_prob(
            residual, table, scale, max_distances=max_distances
        )

    filled, log_prob = _fill_in(latents, codes, is_masked, codebooks, find)
    return filled, log_prob.T.reshape(codes.shape)


def _fill_in(latents, codes, is_masked, codebooks, find):
    """Codes level by level, and what else `find` says of each."""
    codebook.check_code_dim(latents, codebooks)
    _check_depth(codes, codebooks)
    flat = latents.reshape(-1, latents.shape[-1]).astype(jnp.float32)
    by_level = codes.reshape(-1, codes.shape[-1]).T, is_masked.reshape(-1, codes.shape[-1]).T

    def level(residual, inputs):
        table, known, is_hidden = inputs
        found, more = find(residual, table)
        taken = jnp.where(is_hidden[:, None], codebook.lookup(found, table), 0.0)
        return residual - taken, (jnp.where(is_hidden, found, known), more)

    _, (filled, more) = jax.lax.scan(level, flat, (codebooks.astype(jnp.float32), *by_level))
    return filled.T.reshape(codes.shape), more


def decode(codes: Int[Array, "*n p"], codebooks: Float[Array, "q v c"]) -> Float[Array, "*n c"]:
    """Sum of the chosen vectors; `codes` may be a prefix of the levels, the coarse picture.

    Raises UserError where there are more levels of codes than codebooks.
    """
    _check_depth(codes, codebooks, may_be_prefix=True)

    def level(total, inputs):
        table, level_codes = inputs
        return total + codebook.lookup(level_codes, table), None

    zero = jnp.zeros((*codes.shape[:-1], codebooks.shape[-1]), codebooks.dtype)
    levels = codebooks[: codes.shape[-1]], jnp.moveaxis(codes, -1, 0)
    return jax.lax.scan(level, zero, levels)[0]


def decode_masked(
    codes: Int[Array, "*n q"], is_masked: Bool[Array, "*n q"], codebooks: Float[Array, "q v c"]
) -> Float[Array, "*n c"]:
    """Sum of the masked levels' vectors: what `encode_masked` quantizes."""
    _check_depth(codes, codebooks)

    def level(total, inputs):
        table, level_codes, is_hidden = inputs
        return total + jnp.where(is_hidden[..., None], codebook.lookup(level_codes, table), 0), None

    zero = jnp.zeros((*codes.shape[:-1], codebooks.shape[-1]), codebooks.dtype)
    levels = codebooks, jnp.moveaxis(codes, -1, 0), jnp.moveaxis(is_masked, -1, 0)
    return jax.lax.scan(level, zero, levels)[0]


def partial_sums(
    codes: Int[Array, "*n p"], codebooks: Float[Array, "q v c"]
) -> Float[Array, "*n p c"]:
    """Sum of the first 1, 2, ... levels' vectors: what each prefix of the codes decodes to."""
    _check_depth(codes, codebooks, may_be_prefix=True)

    def level(total, inputs):
        table, level_codes = inputs
        total = total + codebook.lookup(level_codes, table)
        return total, total

    zero = jnp.zeros((*codes.shape[:-1], codebooks.shape[-1]), codebooks.dtype)
    levels = codebooks[: codes.shape[-1]], jnp.moveaxis(codes, -1, 0)
    return jnp.moveaxis(jax.lax.scan(level, zero, levels)[1], 0, -2)


def decode_first(
    codes: Int[Array, "b *n q"], codebooks: Float[Array, "q v c"], num_levels: Int[Array, "b"]
) -> Float[Array, "b *n c"]:
    """As `decode`, with `num_levels` of the levels for each example of the leading axis."""
    _check_depth(codes, codebooks)

    def level(total, inputs):
        table, level_codes, index = inputs
        is_kept = (index < num_levels).reshape(-1, *(1,) * (total.ndim - 1))
        return total + jnp.where(is_kept, codebook.lookup(level_codes, table), 0.0), None

    zero = jnp.zeros((*codes.shape[:-1], codebooks.shape[-1]), codebooks.dtype)
    depth = len(codebooks)
    levels = codebooks, jnp.moveaxis(codes, -1, 0), jnp.arange(depth)
    return jax.lax.scan(level, zero, levels)[0]


def share(table: Float[Array, "v c"], depth: int) -> Float[Array, "q v c"]:
    """One codebook for all levels."""
    if depth < 1:
        raise errors.UserError(f"depth is {depth}; expected 1 or more")
    return jnp.broadcast_to(table, (depth, *table.shape))


def stack(tables: Sequence[Float[Array, "_ c"]]) -> Float[Array, "q v c"]:
    """Codebooks of levels with different numbers of codes, filled up to the most.

    What fills them is too far away to be chosen. Raises UserError where the channels differ.
    """
    if len({table.shape[-1] for table in tables}) != 1:
        raise errors.UserError(
            f"codebooks have {[table.shape[-1] for table in tables]} channels; expected the same"
        )
    most = max(len(table) for table in tables)
    padded = [
        jnp.pad(table, ((0, most - len(table)), (0, 0)), constant_values=FAR) for table in tables
    ]
    return jnp.stack(padded)


def is_padding(codebooks: Float[Array | np.ndarray, "q v c"]) -> Bool[Array | np.ndarray, "q v"]:
    """Rows that `stack` filled up with: no codes."""
    return codebooks[..., 0] >= FAR / 2


def code_moments(
    codebooks: Float[Array, "q v c"],
) -> tuple[Float[Array, "q c"], Float[Array, "q"]]:
    """Mean vector of each level's codes and their variance a channel, each code counted once."""
    is_code = ~is_padding(codebooks)[..., None]
    mean = jnp.mean(codebooks, axis=1, where=is_code)
    apart = jnp.where(is_code, codebooks - mean[:, None], 0.0)
    return mean, jnp.mean(apart**2, axis=(1, 2), where=is_code)


def _check_depth(codes, codebooks, *, may_be_prefix: bool = False) -> None:
    given, depth = codes.shape[-1], len(codebooks)
    if given > depth or (given < depth and not may_be_prefix):
        expected = f"at most {depth}" if may_be_prefix else f"{depth}"
        raise errors.UserError(
            f"codes have {given} levels and there are {depth} codebooks; expected {expected} "
            "levels on the last axis"
        )
