"""A batch taken in parts, one after the other, with the result of the whole."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.training.state import Batch, PyTree

# From some rows of a batch to what adds up over all of them, and to arrays with an example a row.
OfRows = Callable[[Batch], tuple[PyTree, PyTree]]
# From parameters and some rows of a batch to their part of its loss, and to the two of `OfRows`.
LossFn = Callable[[PyTree, Batch], tuple[Float[Array, ""], tuple[PyTree, PyTree]]]


def run(of_rows: OfRows, batch: Batch, num_microbatches: int) -> tuple[PyTree, PyTree]:
    """What `of_rows` gives for the whole batch: parts added up, rows in the batch's own order.

    One microbatch has to be to the batch what rows are to it: it divides by counts of the whole
    batch, which it knows from before, and draws no random numbers, which come with the rows.
    """
    if num_microbatches == 1:
        return of_rows(batch)

    def split(rows: Array) -> Array:
        # Microbatch i takes the rows i, i + n, ...: so each device works on rows it already holds.
        shape = (rows.shape[0] // num_microbatches, num_microbatches, *rows.shape[1:])
        return jnp.swapaxes(rows.reshape(shape), 0, 1)

    def join(rows: Array) -> Array:
        return jnp.swapaxes(rows, 0, 1).reshape(-1, *rows.shape[2:])

    def add(total: PyTree, microbatch: Batch) -> tuple[PyTree, PyTree]:
        part, rows = of_rows(microbatch)
        return jax.tree.map(jnp.add, total, part), rows

    parts = jax.tree.map(split, batch)
    shapes, _ = jax.eval_shape(of_rows, jax.tree.map(lambda rows: rows[0], parts))
    zeros = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, rows = jax.lax.scan(add, zeros, parts)
    return total, jax.tree.map(join, rows)


def value_and_grad(
    loss_fn: LossFn, params: PyTree, batch: Batch, num_microbatches: int = 1
) -> tuple[tuple[Float[Array, ""], tuple[PyTree, PyTree]], PyTree]:
    """`((loss, (parts, rows)), gradients)` of the whole batch, as `run` puts it together."""
    compute: Any = jax.value_and_grad(loss_fn, has_aux=True)

    def of_rows(rows: Batch) -> tuple[PyTree, PyTree]:
        (loss, (parts, by_row)), gradients = compute(params, rows)
        return (loss, parts, gradients), by_row

    (loss, parts, gradients), by_row = run(of_rows, batch, num_microbatches)
    return (loss, (parts, by_row)), gradients
