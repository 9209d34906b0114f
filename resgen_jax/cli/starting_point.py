"""`train.init_from`: a new run from the parameters of another one, or of exported weights."""

import functools
import os
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import ml_collections
from jax.sharding import Mesh

from resgen_jax.cli import noise, places, run_data, run_directory, sections
from resgen_jax.convert import exports
from resgen_jax.core import errors
from resgen_jax.data import codes
from resgen_jax.io import paths
from resgen_jax.training import placement, programs
from resgen_jax.training.checkpoints import beginning
from resgen_jax.training.state import Task, TrainState

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
    config: ml_collections.ConfigDict,
    task: Task,
    mesh: Mesh,
    workdir: str | os.PathLike,
    note: Note,
) -> beginning.Begin:
    """How the run of a config begins: anew, or with what `train.init_from` has learnt.

    What does not fit is refused now; a run that has saved something goes on without a look there.
    """
    text = sections.read(config, "train").init_from
    if not text:
        return programs.initial_state
    origin = parse(text)
    take = functools.cache(
        lambda: _take(origin, config, placement.abstract_state(mesh, task), note)
    )
    if not run_data.has_begun(workdir):
        if paths.absolute(origin.place) == paths.absolute(workdir):
            raise errors.UserError(
                f"{FIELD} is {text!r}, the run's own --workdir, which has no checkpoint; name "
                f"another run, or leave it out"
            )
        take()
    return lambda task, mesh, seed: beginning.taking_over(take())(task, mesh, seed)


def is_given(config: ml_collections.ConfigDict) -> bool:
    """Whether the run of a config begins with what another one has learnt."""
    return bool(config.train.get("init_from"))


def _take(
    origin: Origin, config: ml_collections.ConfigDict, abstract: TrainState, note: Note
) -> beginning.Fields:
    there = run_directory.read(origin.place, config.task)
    noise.refuse(there, origin.place)
    try:
        if exports.is_export(origin.place):
            step, fields = _of_export(origin, abstract)
        else:
            step, fields = beginning.learnt(origin.place, abstract, step=origin.step, warn=note)
            _check_codebooks(there, step)
    except errors.UserError as failure:
        raise errors.UserError(f"{FIELD}: {failure}") from failure
    note(f"begins with the parameters of {origin.place} at step {step}; the optimizer is new")
    if config.task == "resgen" and _codebooks_of(origin.place) != _codebooks_of(config.data.codes):
        note(
            f"the codes in {config.data.codes} point into other codebooks than those of "
            f"{origin.place}: what it knows of its codes is of little use"
        )
    return fields


def _codebooks_of(place: str) -> str | None:
    return (places.sums_of_codes(place) or {}).get(codes.CODEBOOKS)


def _of_export(origin: Origin, abstract: TrainState) -> tuple[int, beginning.Fields]:
    """Its averages are the parameters, too: it has no others."""
    if origin.step is not None:
        raise errors.UserError(f"{origin.place} is an export of one step; leave out the @")
    found = exports.read(
        origin.place, exports.essence(abstract.average_params, abstract.statistics)
    )
    params, statistics = found["params"], found["statistics"]
    fields = {"params": params, "average_params": jax.tree.map(jnp.copy, params)}
    if "quantizer" in statistics:
        learner = jax.tree.map(jnp.copy, statistics["quantizer"])
        fields["statistics"] = {"quantizer": statistics["quantizer"], "learner": learner}
    return exports.describe(origin.place).get("step", 0), fields


def _check_codebooks(there: ml_collections.ConfigDict, step: int) -> None:
    has_begun = there.task != "rq_vae" or is_given(there) or step >= there.loss.start_step
    if not has_begun:
        raise errors.UserError(
            f"that run is at step {step}, and its codebooks begin at loss.start_step "
            f"{there.loss.start_step}; train it further, or name a later step"
        )
