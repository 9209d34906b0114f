"""Sequences cut into one segment for each of several codebooks."""

from jaxtyping import Array, Float, Shaped

from resgen_jax.core import errors
from resgen_jax.quantizers import codebook


def check_ranks(latents: Float[Array, "..."], codebooks: Float[Array, "..."]) -> None:
    """Raises UserError unless latents are "b l c" and codebooks "g v c", 1 or more of 1 or more."""
    if latents.ndim != 3 or codebooks.ndim != 3:
        raise errors.UserError(
            f"latents have the shape {latents.shape} and codebooks {codebooks.shape}; "
            "expected (b, l, c) and (g, v, c): flatten a grid, and write codebook[None] for one"
        )
    if not codebooks.shape[0] or not codebooks.shape[1]:
        raise errors.UserError(
            f"codebooks have the shape {codebooks.shape}; expected 1 or more, of 1 or more codes"
        )


def check(latents: Float[Array, "..."], codebooks: Float[Array, "..."]) -> None:
    """Raises UserError unless latents "b l c" can be cut for codebooks "g v c"."""
    check_ranks(latents, codebooks)
    codebook.check_code_dim(latents, codebooks)
    length, num_codebooks = latents.shape[1], len(codebooks)
    if length % num_codebooks:
        raise errors.UserError(
            f"a length of {length} positions is not a multiple of {num_codebooks} codebooks; "
            "each takes a segment of the same length, so give a length or a number that divides"
        )


def split(array: Shaped[Array, "b l ..."], num_codebooks: int) -> Shaped[Array, "n g ..."]:
    """Rows of one position of each segment; the first l / g positions are those of codebook 0.

    The examples stay in front, so that a batch laid out over devices stays where it is.
    """
    batch, length = array.shape[:2]
    size = length // num_codebooks
    cut = array.reshape(batch, num_codebooks, size, *array.shape[2:]).swapaxes(1, 2)
    return cut.reshape(batch * size, num_codebooks, *array.shape[2:])


def join(rows: Shaped[Array, "n g ..."], batch: int, length: int) -> Shaped[Array, "b l ..."]:
    """What `split` cut, as `batch` sequences of that length."""
    num_codebooks = rows.shape[1]
    cut = rows.reshape(batch, length // num_codebooks, *rows.shape[1:]).swapaxes(1, 2)
    return cut.reshape(batch, length, *rows.shape[2:])
