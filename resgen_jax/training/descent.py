"""One optimizer step of a task: gradients by microbatches, then the update."""

from collections.abc import Callable
from typing import TypeVar

import optax
from jaxtyping import Array, Float

from resgen_jax.training import microbatches, optimizer
from resgen_jax.training.state import Batch, Metrics, PyTree, TrainState

Sums = TypeVar("Sums")


def step(
    state: TrainState,
    loss_fn: Callable[[PyTree, Batch], tuple[Float[Array, ""], Sums]],
    drawn: Batch,
    transformation: optax.GradientTransformation,
    *,
    num_microbatches: int,
    rate: optimizer.Schedule,
    average_decay: float,
) -> tuple[TrainState, Sums, Metrics]:
    """The state one step on, what the loss is made of, and "loss" with `apply_gradients`' metrics.

    `loss_fn` gives the part of some rows in the loss of the batch, and sums that add up over them.
    """

    def of_rows(params: PyTree, rows: Batch):
        loss, sums = loss_fn(params, rows)
        return loss, (sums, ())

    (loss, (sums, _)), gradients = microbatches.value_and_grad(
        of_rows, state.params, drawn, num_microbatches
    )
    state, metrics = optimizer.apply_gradients(
        state, gradients, transformation, rate=rate, average_decay=average_decay
    )
    return state, sums, {"loss": loss, **metrics}
