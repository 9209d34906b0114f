"""Where tokens stand: rotary angles over a line or a grid, sines and cosines of places.

Rotary angles act on the products of queries and keys alone: where all tokens are equal, as when
nothing is revealed yet, all hidden states stay equal. The transformer adds a learned vector for
each position; `line` has fixed ones.
"""

import math

import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import errors

SLOWEST = 10_000.0  # the slowest of the waves turns by nearly 1 / SLOWEST a place


def rotary_angles(grid: tuple[int, int], head_width: int, base: float) -> Float[Array, "l half"]:
    """Angle of every channel pair at every position of a grid, flattened row by row.

    A grid of one row is a line and uses all pairs for the column; a taller grid gives half of the
    pairs to the row and half to the column (axial rotary embedding). The slowest pairs turn by
    about 1 / base a position: a base far above the sides of the grid leaves most pairs at rest.
    """
    num_axes = 1 if grid[0] == 1 else 2
    if head_width % (2 * num_axes):
        raise errors.UserError(
            f"head width {head_width} cannot hold rotary pairs for {num_axes} axes: "
            f"use a width / num_heads that is a multiple of {2 * num_axes}, or rotary_base=0"
        )
    pairs = head_width // (2 * num_axes)
    frequency = base ** (-jnp.arange(pairs, dtype=jnp.float32) / pairs)
    rows, columns = jnp.meshgrid(jnp.arange(grid[0]), jnp.arange(grid[1]), indexing="ij")
    axes = (columns,) if num_axes == 1 else (rows, columns)
    places = [axis.reshape(-1, 1).astype(jnp.float32) for axis in axes]
    return jnp.concatenate([place @ frequency[None, :] for place in places], axis=-1)


def rotate(
    heads: Float[Array, "b l a k"], angles: Float[Array, "l half"]
) -> Float[Array, "b l a k"]:
    """Turn the channel pairs (0, 1), (2, 3), ... of each head by the angles of its position."""
    pairs = heads.astype(jnp.float32).reshape(*heads.shape[:-1], -1, 2)
    cos, sin = jnp.cos(angles)[None, :, None, :], jnp.sin(angles)[None, :, None, :]
    first, second = pairs[..., 0], pairs[..., 1]
    turned = jnp.stack([first * cos - second * sin, first * sin + second * cos], axis=-1)
    return turned.reshape(heads.shape).astype(heads.dtype)


def angles_of(places: Float[Array, "*n"], num_angles: int) -> Float[Array, "*n e"]:
    """place * 10000^(-i / num_angles) of each place, i from 0: from fast to slow."""
    speed = jnp.exp(-math.log(SLOWEST) * jnp.arange(num_angles, dtype=jnp.float32) / num_angles)
    return places[..., None] * speed.reshape(*(1,) * places.ndim, num_angles)


def waves(places: Float[Array, "*n"], num_waves: int) -> Float[Array, "*n e"]:
    """Cosines of so many angles, half of `num_waves`, then their sines: of a time, as in DiT."""
    angles = angles_of(places, num_waves // 2)
    return jnp.concatenate([jnp.cos(angles), jnp.sin(angles)], axis=-1)


def line(length: int, width: int) -> Float[Array, "l d"]:
    """A fixed vector for each position of a line: sines on even channels, cosines on odd ones.

    The table of "Attention is all you need" (arXiv 1706.03762, section 3.5); `width` is even.
    """
    angles = angles_of(jnp.arange(length, dtype=jnp.float32), width // 2)
    return jnp.stack([jnp.sin(angles), jnp.cos(angles)], axis=-1).reshape(length, width)
