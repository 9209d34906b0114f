"""Loops over rows in chunks, so that no array of rows times codes is ever held whole."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree, Shaped

from resgen_jax.core import errors, shards

MAX_DISTANCES = 2**20


def num_chunks(num_rows: int, width: int, max_elements: int) -> int:
    """Chunks that keep (rows of a chunk) x `width` within `max_elements`, or one row a chunk.

    `max_elements` counts what one device holds, with the rows split over the mesh in scope: more
    devices take more rows at a time, not more turns. A number that divides a device's rows is
    preferred, because padding a sharded axis moves it between devices.
    """
    if max_elements < 1:
        raise errors.UserError(f"max_distances is {max_elements}; expected 1 or more")
    num_shards = shards.num_row_shards()
    rows_here = -(-num_rows // num_shards)
    least = max(min(-(-rows_here * width // max_elements), rows_here), 1)
    # Rows that the devices do not share evenly are padded as they are.
    whole = num_rows if num_rows % num_shards else rows_here
    return next((k for k in range(least, min(2 * least, whole)) if whole % k == 0), least)


def split(array: Shaped[Array, "n ..."], count: int) -> Shaped[Array, "chunks rows ..."]:
    """`count` chunks of equally many rows; zeros fill the last ones where n is not a multiple.

    Neighbouring rows go to different chunks, so that a leading axis laid out over devices stays
    where it is: every device works on its own rows of every chunk.
    """
    rows = -(-array.shape[0] // count)
    padding = rows * count - array.shape[0]
    if padding:
        array = jnp.pad(array, ((0, padding), *((0, 0),) * (array.ndim - 1)))
    return jnp.moveaxis(array.reshape(rows, count, *array.shape[1:]), 1, 0)


def join(chunks: Shaped[Array, "chunks rows ..."], num_rows: int) -> Shaped[Array, "n ..."]:
    """What `split` took apart, without its padding."""
    count, rows = chunks.shape[:2]
    return jnp.moveaxis(chunks, 0, 1).reshape(count * rows, *chunks.shape[2:])[:num_rows]


def map_rows(function, arrays: PyTree[Shaped[Array, "n ..."]], count: int):
    """`function` of each chunk of rows in turn, joined again; results keep rows in front.

    `arrays` is one array or a tree of arrays with the same rows.
    """
    if count == 1:
        return function(arrays)
    num_rows = len(jax.tree.leaves(arrays)[0])
    results = jax.lax.map(function, jax.tree.map(lambda array: split(array, count), arrays))
    return jax.tree.map(lambda chunks: join(chunks, num_rows), results)
