"""Square grids made smaller or larger by fixed matrices: PyTorch's "area" and "bicubic" modes."""

import functools

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from resgen_jax.core import errors
from resgen_jax.quantizers import codebook

# The sharpness of PyTorch's cubic kernel; Keys' own choice was -0.5.
CUBIC = -0.75


@functools.cache
def area_matrix(side: int, new_side: int) -> Float[np.ndarray, "new_side side"]:
    """Adaptive average pooling: each new place is the mean of the old places that it touches.

    As `torch.nn.functional.interpolate(mode="area")`. Raises UserError for a side below 1.
    """
    _check_sides(side, new_side)
    matrix = np.zeros((new_side, side))
    for row in range(new_side):
        first, after = row * side // new_side, -(-(row + 1) * side // new_side)
        matrix[row, first:after] = 1.0 / (after - first)
    return matrix.astype(np.float32)


@functools.cache
def bicubic_matrix(side: int, new_side: int) -> Float[np.ndarray, "new_side side"]:
    """Cubic convolution of the four nearest old places, the border repeated; no antialiasing.

    As `torch.nn.functional.interpolate(mode="bicubic", align_corners=False)`. Raises UserError for
    a side below 1.
    """
    _check_sides(side, new_side)
    matrix = np.zeros((new_side, side))
    for row in range(new_side):
        place = (row + 0.5) * side / new_side - 0.5
        first = int(np.floor(place)) - 1
        for column in range(first, first + 4):
            matrix[row, min(max(column, 0), side - 1)] += _cubic(abs(place - column))
    return matrix.astype(np.float32)


def resize(
    grids: Float[Array, "b h w c"], matrix: Float[np.ndarray, "side old_side"]
) -> Float[Array, "b side side c"]:
    """Both sides of each grid multiplied by the matrix, in float32."""
    weights = jnp.asarray(matrix)
    tall = jnp.einsum("ih,bhwc->biwc", weights, grids, precision=codebook.PRECISION)
    return jnp.einsum("jw,biwc->bijc", weights, tall, precision=codebook.PRECISION)


def _cubic(distance: float) -> float:
    """Weight of a place at this distance, 0 from two places on."""
    if distance <= 1.0:
        return (CUBIC + 2.0) * distance**3 - (CUBIC + 3.0) * distance**2 + 1.0
    return CUBIC * (distance**3 - 5.0 * distance**2 + 8.0 * distance - 4.0)


def _check_sides(side: int, new_side: int) -> None:
    if min(side, new_side) < 1:
        raise errors.UserError(f"cannot resize a side of {side} to {new_side}; expected 1 or more")
