"""Metrics over the held-out batches, each row counted once."""

from collections.abc import Callable, Iterable
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from resgen_jax.core import errors, keys
from resgen_jax.runtime import interruption
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training.state import Batch, Metrics, TrainState


def evaluate(
    program: Callable[[TrainState, Batch, PRNGKeyArray], Metrics],
    state: TrainState,
    batches: Iterable[Batch],
    *,
    mesh: Mesh,
    key: PRNGKeyArray,
) -> dict[str, float]:
    """Mean of every metric, weighted by each batch's "num_examples", whose sum is returned too.

    Batches are this process's rows. The key of a batch is that of its number, so that two
    evaluations differ by the state alone. Raises UserError if there is none.
    """
    pending: Any = None
    sums: dict[str, float] = {}
    for number, batch in enumerate(interruption.watched(batches)):
        metrics = program(state, meshes.put_batch(mesh, batch), keys.step_key(key, number))
        _add(sums, pending)  # one batch behind, so that the device never waits
        pending = metrics
    if pending is None:
        raise errors.UserError("there are no held-out batches: the held-out set is empty")
    _add(sums, pending)
    count = sums.pop("num_examples")
    means = {name: total / count for name, total in sums.items()}
    return {**means, "num_examples": count}


def _add(sums: dict[str, float], metrics: Metrics | None) -> None:
    if metrics is None:
        return
    values = {name: float(value) for name, value in jax.device_get(metrics).items()}
    count = values["num_examples"]
    for name, value in values.items():
        weighted = value if name == "num_examples" else value * count
        sums[name] = sums.get(name, 0.0) + weighted
