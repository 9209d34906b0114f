"""What training carries from step to step, and what the loop asks of a task."""

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import optax
from flax import struct
from jaxtyping import Array, Float, PRNGKeyArray

PyTree = Any
Batch = dict[str, Any]
Metrics = dict[str, Float[Array, ""]]


class TrainState(struct.PyTreeNode):
    """Everything a run needs to go on; saved and restored as a whole.

    No field is typed as an array, because trees of shardings and of abstract shapes have this
    structure too.
    """

    step: PyTree  # Int[Array, ""]: steps taken
    params: PyTree
    opt_state: PyTree
    average_params: PyTree  # moving average of params, used for evaluation and sampling
    statistics: PyTree  # what learns without gradients, its average, what is frozen; {} if none


@runtime_checkable
class Task(Protocol):
    """A model with its losses, as the loop sees it: names and pure functions."""

    name: str
    optimizer: optax.GradientTransformation

    def init(self, key: PRNGKeyArray) -> TrainState:
        """The state before the first step; jitted by the loop, so that it is born sharded."""

    def axes(self) -> PyTree:
        """The tree of params with a tuple of logical axis names (or None) for each leaf."""

    def statistics_axes(self) -> PyTree:
        """The tree of `TrainState.statistics` with logical axis names for each leaf."""

    def step(
        self, state: TrainState, batch: Batch, key: PRNGKeyArray
    ) -> tuple[TrainState, Metrics]:
        """One step: the next state and scalar metrics, "loss" among them."""

    def evaluate(self, state: TrainState, batch: Batch, key: PRNGKeyArray) -> Metrics:
        """Metrics of the averaged parameters on a held-out batch.

        Each is a mean over the rows where `batch["is_valid"]`; "num_examples" counts those rows.
        """

    def remarks(self, metrics: Mapping[str, float]) -> dict[str, str]:
        """Warnings about figures of training or of `evaluate`, by what they are about.

        Each is told once in a start of a run.
        """

    def flops_per_example(self) -> float:
        """Floating point operations of one training example, forward and backward, counted by
        hand: what the model needs, not what a program recomputes."""
