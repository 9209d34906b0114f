"""Residual FSQ and LFQ: scalar codes of what finer and finer grids leave, without a codebook."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from resgen_jax.core import errors
from resgen_jax.quantizers import gradients, scalar


def lfq_encode(latents: Float[Array, "*n c"], depth: int) -> Int[Array, "*n q"]:
    """The bits of `scalar.lfq_encode` for what each level leaves, whose signs weigh 2^-level.

    The codes of `rvq.encode` with all corners of cubes half as large at each level.
    """
    _check_depth(depth)

    def level(residual, scale):
        signs = jnp.where(residual > 0, scale, -scale)
        return residual - signs, scalar.lfq_encode(residual)

    rows = jax.lax.stop_gradient(latents.astype(jnp.float32))
    return jnp.moveaxis(jax.lax.scan(level, rows, _halves(depth))[1], 0, -1)


def lfq_decode(codes: Int[Array, "*n p"], num_bits: int) -> Float[Array, "*n c"]:
    """Sum of all levels' signs, each half as large as the last; `codes` may be a prefix."""
    signs = scalar.lfq_decode(codes, num_bits)
    scales = _halves(codes.shape[-1]).reshape(*(1,) * (codes.ndim - 1), -1, 1)
    return jnp.sum(scales * signs, axis=-2)


def lfq_codebooks(num_bits: int, depth: int) -> Float[Array, "q v c"]:
    """The corners that `lfq_decode` adds up: with them `rvq` gives the codes of `lfq_encode`."""
    _check_depth(depth)
    corners = scalar.lfq_decode(jnp.arange(2**num_bits), num_bits)
    return _halves(depth)[:, None, None] * corners[None]


def fsq_bound(latents: Float[Array, "*n c"], levels: tuple[int, ...]) -> Float[Array, "*n c"]:
    """Latents bounded by tanh a half step outside the outer levels of -1 and 1, in float32."""
    scalar.check_channels(latents, levels)
    limit = 1.0 + 1.0 / (_counts(levels, latents.ndim) - 1.0)
    return limit * jnp.tanh(latents.astype(jnp.float32) / limit)


def fsq_encode(
    latents: Float[Array, "*n c"], levels: tuple[int, ...], depth: int
) -> Int[Array, "*n q"]:
    """Codes of the bounded latents on even grids from -1 to 1, each level's finer by `levels`.

    A channel of k levels is finer by k at each level of the depth, so that nothing is coded twice.
    """
    _check_depth(depth)
    counts = _counts(levels, latents.ndim)
    places = scalar.places(levels, latents.ndim)

    def level(carry, _):
        residual, scale = carry
        digits = jnp.floor(0.5 * (counts - 1.0) * (jnp.clip(residual / scale, -1, 1) + 1.0) + 0.5)
        code = jnp.sum(digits.astype(jnp.int32) * places, axis=-1)
        return (residual - scale * _steps(digits, counts), scale / counts), code

    bounded = jax.lax.stop_gradient(fsq_bound(latents, levels))
    _, codes = jax.lax.scan(level, (bounded, jnp.ones_like(counts)), length=depth)
    return jnp.moveaxis(codes, 0, -1)


def fsq_decode(codes: Int[Array, "*n p"], levels: tuple[int, ...]) -> Float[Array, "*n c"]:
    """Sum of all levels' steps; `codes` may be a prefix of the depth."""
    counts = _counts(levels, codes.ndim + 1)
    whole = jnp.asarray(levels, jnp.int32).reshape(counts.shape)
    digits = codes.astype(jnp.int32)[..., None] // scalar.places(levels, codes.ndim + 1) % whole
    depth = jnp.arange(codes.shape[-1], dtype=jnp.float32)
    scales = counts ** -depth.reshape(*(1,) * (codes.ndim - 1), -1, 1)
    return jnp.sum(scales * _steps(digits.astype(jnp.float32), counts), axis=-2)


def fsq_codebooks(levels: tuple[int, ...], depth: int) -> Float[Array, "q v c"]:
    """The grids that `fsq_decode` adds up: with them `rvq` gives the codes of bounded latents."""
    _check_depth(depth)
    grid = fsq_decode(jnp.arange(math.prod(levels))[:, None], levels)
    scales = _counts(levels, 2) ** -jnp.arange(depth, dtype=jnp.float32)[:, None]
    return scales[:, None, :] * grid[None]


def fsq_quantize(
    latents: Float[Array, "*n c"], levels: tuple[int, ...], depth: int
) -> Float[Array, "*n c"]:
    """What the codes decode to, with the gradient of the bound."""
    decoded = fsq_decode(fsq_encode(latents, levels, depth), levels)
    return gradients.straight_through(fsq_bound(latents, levels), decoded)


def _steps(digits, counts):
    """Places 0 to k - 1 as numbers from -1 to 1."""
    return 2.0 * digits / (counts - 1.0) - 1.0


def _halves(depth: int) -> Float[Array, "q"]:
    return jnp.asarray(0.5 ** np.arange(depth), jnp.float32)


def _counts(levels, rank: int) -> Float[Array, "..."]:
    if not levels or min(levels) < 2:
        raise errors.UserError(f"levels are {levels}; expected 2 or more in each channel")
    return jnp.asarray(levels, jnp.float32).reshape(*(1,) * (rank - 1), -1)


def _check_depth(depth: int) -> None:
    if depth < 1:
        raise errors.UserError(f"depth is {depth}; expected 1 or more")
