"""Images as a line of square patches, row by row, and back."""

import einops
from jaxtyping import Array, Float


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
