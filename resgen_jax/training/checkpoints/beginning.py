"""The first state of a run that takes over another run's parameters: fine-tuning."""

import os
from collections.abc import Callable, Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Any

from jax.sharding import Mesh

from resgen_jax.core import errors
from resgen_jax.training import programs
from resgen_jax.training.checkpoints import manifest, restoring
from resgen_jax.training.state import PyTree, Task, TrainState

Begin = Callable[[Task, Mesh, int], TrainState]
Fields = dict[str, PyTree]
PARAMS = ("params", "average_params")


def taking_over(fields: Fields) -> Begin:
    """Begins with these parts of the state; step, optimizer and all else are as of any new run."""

    def begin(task: Task, mesh: Mesh, seed: int) -> TrainState:
        state = programs.initial_state(task, mesh, seed)
        return state.replace(
            **{name: {**getattr(state, name), **part} for name, part in fields.items()}
        )

    return begin


def learnt(
    workdir: str | os.PathLike,
    abstract: TrainState,
    *,
    statistics: Sequence[str] = (),
    auxiliary: Mapping[str, str] = MappingProxyType({}),
    step: int | None = None,
    warn: restoring.Warn = lambda text: None,
) -> tuple[int, Fields]:
    """Step of a run, its parameters, their average and some statistics, placed as `abstract` says.

    Parts of the parameters that `auxiliary` names and calls so (a discriminator) are taken where
    both have the same ones. Raises UserError, naming an array, where anything else has another
    form, and where `step` has no checkpoint.
    """
    parts = _parts(abstract, statistics, leave_out=())

    def part_of(path: str) -> str:
        return path.split("/")[1]

    def is_learnt(path: str) -> bool:
        field = path.split("/")[0]
        return field in PARAMS or (field == "statistics" and part_of(path) in statistics)

    def choose(saved: Mapping[str, Sequence[Any]]) -> manifest.Arrays:
        nonlocal parts
        theirs = {path: entry for path, entry in saved.items() if is_learnt(path)}
        differences = manifest.differing(theirs, manifest.flatten(parts))
        others = {part_of(text) for text in differences} & set(auxiliary)
        for name in sorted(others):
            warn(
                f"the {auxiliary[name]} begins anew: only one of the two runs has it, or in that "
                f"form"
            )
        if others:
            differences = [text for text in differences if part_of(text) not in others]
            parts = _parts(abstract, statistics, leave_out=others)
        if differences:
            more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
            raise errors.UserError(
                f"the run in {os.fspath(workdir)} has another architecture: {differences[0]}"
                f"{more}; give this one the same sections model and quantizer, and as many classes"
            )
        return manifest.flatten(parts)

    found, arrays = restoring.restore_some(workdir, choose, step=step, warn=warn)
    return found, manifest.unflatten(arrays, parts)


def _parts(state: TrainState, statistics: Sequence[str], leave_out: Collection[str]) -> Fields:
    parts = {
        field: {name: part for name, part in getattr(state, field).items() if name not in leave_out}
        for field in PARAMS
    }
    learnt = {name: part for name, part in state.statistics.items() if name in statistics}
    return {**parts, "statistics": learnt}
