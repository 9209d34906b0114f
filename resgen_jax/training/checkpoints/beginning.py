"""The first state of a run that takes over another run's parameters: fine-tuning."""

import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from jax.sharding import Mesh

from resgen_jax.core import errors
from resgen_jax.training import programs, rq_vae_loss
from resgen_jax.training.checkpoints import checkpoint, manifest
from resgen_jax.training.state import PyTree, Task, TrainState

Begin = Callable[[Task, Mesh, int], TrainState]
Fields = dict[str, PyTree]
LEARNT = ("learner", "quantizer")  # of the statistics; others are frozen, or of the adversary


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
    step: int | None = None,
    warn: checkpoint.Warn = lambda text: None,
) -> tuple[int, Fields]:
    """Step of a run, its parameters, their average and its codebooks, placed as `abstract` says.

    A discriminator is taken where both have the same one. Raises UserError, naming an array, where
    anything else has another form, and where `step` has no checkpoint.
    """
    parts = _parts(abstract, has_discriminator=True)

    def choose(saved: Mapping[str, Sequence[Any]]) -> manifest.Arrays:
        nonlocal parts
        theirs = {path: entry for path, entry in saved.items() if _is_learnt(path)}
        differences = manifest.differing(theirs, manifest.flatten(parts))
        if any(map(_is_of_discriminator, differences)):
            warn("the discriminator begins anew: only one of the two runs has it, or in that form")
            differences = [text for text in differences if not _is_of_discriminator(text)]
            parts = _parts(abstract, has_discriminator=False)
        if differences:
            more = f" (and {len(differences) - 1} more)" if len(differences) > 1 else ""
            raise errors.UserError(
                f"the run in {os.fspath(workdir)} has another architecture: {differences[0]}"
                f"{more}; give this one the same sections model and quantizer, and as many classes"
            )
        return manifest.flatten(parts)

    found, arrays = checkpoint.restore_some(workdir, choose, step=step, warn=warn)
    return found, manifest.unflatten(arrays, parts)


def _parts(state: TrainState, *, has_discriminator: bool) -> Fields:
    def kept(params: PyTree) -> PyTree:
        names = {rq_vae_loss.DISCRIMINATOR} if not has_discriminator else set()
        return {name: part for name, part in params.items() if name not in names}

    statistics = {name: part for name, part in state.statistics.items() if name in LEARNT}
    return {
        "params": kept(state.params),
        "average_params": kept(state.average_params),
        "statistics": statistics,
    }


def _is_learnt(path: str) -> bool:
    field, _, rest = path.partition("/")
    is_learnt = field == "statistics" and rest.split("/")[0] in LEARNT
    return is_learnt or field in ("params", "average_params")


def _is_of_discriminator(path: str) -> bool:
    return path.split("/")[1] == rq_vae_loss.DISCRIMINATOR
