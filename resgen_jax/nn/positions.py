"""Where tokens stand towards each other: rotary angles over a line or a grid.

They act on the products of queries and keys alone: where all tokens are equal, as when nothing is
revealed yet, all hidden states stay equal. The transformer adds a learned vector for each position.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import errors


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
