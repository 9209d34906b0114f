"""Images as a line of square patches, row by row, and back; what is learned of them, resized.

Grids and kernels are resized by cubic convolution with antialiasing, as by Pillow and by PyTorch's
`interpolate(mode="bicubic", antialias=True)`.
"""

import functools
import math

import einops
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from resgen_jax.core import errors


def split(images: Float[Array, "b h w c"], patch_size: int) -> Float[Array, "b l e"]:
    """Each patch as one vector: row in the patch, column in the patch, colour, the last fastest.

    A dense layer on them is a convolution whose kernel "p p c d" is reshaped to "e d".
    """
    order = "b (h i) (w j) c -> b (h w) (i j c)"
    return einops.rearrange(images, order, i=patch_size, j=patch_size)


def join(
    vectors: Float[Array, "b l e"], grid: tuple[int, int], patch_size: int
) -> Float[Array, "b h w c"]:
    """Inverse of `split`, for so many rows and columns of patches."""
    order, (height, width) = "b (h w) (i j c) -> b (h i) (w j) c", grid
    return einops.rearrange(vectors, order, h=height, w=width, i=patch_size, j=patch_size)


def resize_positions(
    table: Float[Array, "l d"], grid: tuple[int, int], new_grid: tuple[int, int]
) -> Float[Array, "l2 d"]:
    """A table of positions on another grid, in float32; rows of the grid come last, row by row.

    What stands before them, such as that of a class token, is copied. Raises UserError for a table
    that has fewer rows than the grid has places, and for a grid without any.
    """
    num_others = len(table) - math.prod(grid)
    if num_others < 0 or min(*grid, *new_grid) < 1:
        raise errors.UserError(
            f"cannot resize {len(table)} positions of a grid of {grid} to {new_grid}; expected "
            "sides of 1 or more, and a row for each place at the end of the table"
        )
    table = table.astype(jnp.float32)
    places = table[num_others:].reshape(*grid, -1)
    tall, wide = (_cubic(*sides) for sides in zip(grid, new_grid, strict=True))
    resized = _both_sides(tall, wide, places).reshape(-1, table.shape[1])
    return jnp.concatenate([table[:num_others], resized])


def resize_kernel(
    kernel: Float[Array, "p p c d"], patch_size: int
) -> Float[Array, "new_p new_p c d"]:
    """A patch embedding for patches of another size, in float32 (FlexiViT, arXiv 2212.08013, 3.4).

    With B the matrix that resizes a patch, the new weights are pinv(B^T) w: resized to a larger
    patch, every patch answers as before; to a smaller one, as nearly as it can. Raises UserError
    for a size below 1.
    """
    if patch_size < 1:
        raise errors.UserError(f"patch_size is {patch_size}; expected at least 1")
    # B is the same for rows and columns, one after the other, and so is its pseudo-inverse.
    matrix = np.linalg.pinv(_cubic(len(kernel), patch_size).T)
    flat = kernel.astype(jnp.float32).reshape(*kernel.shape[:2], -1)
    resized = _both_sides(matrix, matrix, flat)
    return resized.reshape(patch_size, patch_size, *kernel.shape[2:])


@functools.cache
def _cubic(side: int, new_side: int) -> Float[np.ndarray, "new_side side"]:
    """The matrix that resizes one side."""
    with jax.ensure_compile_time_eval():
        matrix = jax.image.resize(jnp.eye(side), (new_side, side), "cubic", antialias=True)
        return np.asarray(matrix, np.float64)


def _both_sides(
    tall: Float[np.ndarray, "h2 h"], wide: Float[np.ndarray, "w2 w"], values: Float[Array, "h w d"]
) -> Float[Array, "h2 w2 d"]:
    matrices = (jnp.asarray(matrix, jnp.float32) for matrix in (tall, wide))
    return jnp.einsum("ih,jw,hwd->ijd", *matrices, values, precision=jax.lax.Precision.HIGHEST)
