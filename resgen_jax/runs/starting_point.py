"""`train.init_from`: a new run from the parameters of another one, or of exported weights."""

import functools
import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh

from resgen_jax import recipes
from resgen_jax.convert import exports
from resgen_jax.core import errors
from resgen_jax.data import codes
from resgen_jax.io import paths
from resgen_jax.runs import noise, places, run_data, run_directory
from resgen_jax.training import placement, programs
from resgen_jax.training.checkpoints import beginning
from resgen_jax.training.state import Task

Note = Callable[[str], None]
FIELD = "train.init_from"


class Origin(NamedTuple):
    """A run directory or export, and the step of a checkpoint; None is the newest."""

    place: str
    step: int | None


def parse(text: str) -> Origin:
    """RUN or RUN@STEP; a folder whose own name ends so comes first."""
    place, at, step = text.rpartition("@")
    is_folder = not paths.is_remote(text) and paths.of(text).is_dir()
    if at and place and step.isdigit() and not is_folder:
        return Origin(place, int(step))
    return Origin(text, None)


def begin(
    config: Any,
    model: Any,
    task: Task,
    mesh: Mesh,
    workdir: str | os.PathLike,
    note: Note,
) -> beginning.Begin:
    """How the run of a config begins: anew, or with what `train.init_from` has learnt.

    What does not fit is refused now; a run that has saved something goes on without a look there.
    """
    text = config.train.init_from
    if not text:
        return programs.initial_state
    origin = parse(text)
    take = functools.cache(lambda: _take(origin, config, model, task, mesh, note))
    if not run_data.has_begun(workdir):
        if paths.absolute(origin.place) == paths.absolute(workdir):
            raise errors.UserError(
                f"{FIELD} is {text!r}, the run's own --workdir, which has no checkpoint; name "
                f"another run, or leave it out"
            )
        take()
    return lambda task, mesh, seed: beginning.taking_over(take())(task, mesh, seed)


def is_given(config: Any) -> bool:
    """Whether the run of a config begins with what another one has learnt."""
    return bool(config.train.init_from)


def _take(
    origin: Origin, config: Any, model: Any, task: Task, mesh: Mesh, note: Note
) -> beginning.Fields:
    there = run_directory.read(origin.place, config.task)
    noise.refuse(there, origin.place)
    try:
        if exports.is_export(origin.place):
            step, fields = _of_export(origin, config, placement.abstract_model(mesh, model))
        else:
            recipe = recipes.find(config.task)
            step, fields = beginning.learnt(
                origin.place,
                placement.abstract_state(mesh, task),
                statistics=recipe.learnt,
                auxiliary=recipe.auxiliary,
                step=origin.step,
                warn=note,
            )
            _check_codebooks(there, step)
    except errors.UserError as failure:
        raise errors.UserError(f"{FIELD}: {failure}") from failure
    note(f"begins with the parameters of {origin.place} at step {step}; the optimizer is new")
    own = getattr(config.data, "codes", "")
    if own and _codebooks_of(origin.place) != _codebooks_of(own):
        note(
            f"the codes in {own} point into other codebooks than those of "
            f"{origin.place}: what it knows of its codes is of little use"
        )
    return fields


def _codebooks_of(place: str) -> str | None:
    return (places.sums_of_codes(place) or {}).get(codes.CODEBOOKS)


def _of_export(origin: Origin, config: Any, abstract: Any) -> tuple[int, beginning.Fields]:
    """Its averages are the parameters, too: it has no others."""
    if origin.step is not None:
        raise errors.UserError(f"{origin.place} is an export of one step; leave out the @")
    found = exports.read(origin.place, abstract)
    params = found["params"]
    fields = {"params": params, "average_params": jax.tree.map(jnp.copy, params)}
    if statistics := recipes.find(config.task).learnt_of(found["statistics"]):
        fields["statistics"] = statistics
    return exports.describe(origin.place).get("step", 0), fields


def _check_codebooks(there: Any, step: int) -> None:
    if reason := recipes.find(there.task).not_yet(there, step):
        raise errors.UserError(f"that run is at step {step}, and {reason}")
