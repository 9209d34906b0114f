"""`resgen demo --minutes=N`: the steps of both stages that take so long on this machine."""

import dataclasses
import math
import pathlib
from typing import Any

import jax

from resgen_jax.core import errors
from resgen_jax.data import sources
from resgen_jax.io import json_files
from resgen_jax.recipes import configs
from resgen_jax.runs import experiments, progress, run_directory, synthetic
from resgen_jax.runs.demo import plans
from resgen_jax.runs.study import step_speed

FILE = "minutes.json"
NUM_TIMED = 10  # steps
LEAST_STEPS = 20
# What stretches with a run's length; the second kind is never longer than in the config.
STRETCHED = (("train", "evaluate_every"),)
SHRUNK = (
    ("train", "log_every"),
    ("train", "checkpoint_every"),
    ("optimizer", "warmup_steps"),
    ("loss", "start_step"),
)


def check(minutes: float, is_fast: bool) -> None:
    """Raises UserError for no length of time, and for one that --fast says otherwise."""
    if not (math.isfinite(minutes) and minutes > 0):
        raise errors.UserError(f"--minutes is {minutes:g}; expected a number above 0")
    if is_fast:
        raise errors.UserError(
            "--fast takes a few steps and --minutes as many as fit; leave one out"
        )


def fitted(plan: plans.Plan, minutes: float | None) -> plans.Plan:
    """The plan with as many steps of each stage as fit into `minutes` of training.

    They are kept in the demo's directory, so that it goes on with the same ones, `minutes` given or
    not; UserError for another number than is kept there. Without either the plan stays as it is.
    """
    path = plan.workdir / FILE
    if path.is_file():
        kept = _read(path)
        if minutes not in (None, kept["minutes"]):
            raise errors.UserError(
                f"the demo in {plan.workdir} is of --minutes={kept['minutes']:g}, here it is "
                f"{minutes:g}; leave that out, or name another --workdir"
            )
    elif minutes is None:
        return plan
    else:
        kept = _measure(plan, minutes)
        run_directory.write_json(path, kept)
    return dataclasses.replace(
        plan,
        tokenizer=stretched(plan.tokenizer, kept["tokenizer"]),
        generator=stretched(plan.generator, kept["generator"]),
        has_targets=False,  # they are for the usual length
    )


def stretched(config: Any, num_steps: int) -> Any:
    """The config with another number of steps, measured as often and warmed up as long in share."""
    share = num_steps / config.train.num_steps
    changes = {"train.num_steps": num_steps}
    for section, name in (*STRETCHED, *SHRUNK):
        usual = getattr(getattr(config, section), name, 0)
        if usual:
            value = max(1, round(share * usual))
            is_bounded = (section, name) in SHRUNK
            changes[f"{section}.{name}"] = min(value, usual) if is_bounded else value
    return configs.change(config, changes)


def steps_in(
    seconds: float, usual: dict[str, int], step_seconds: dict[str, float]
) -> dict[str, int]:
    """Steps of each stage that take `seconds` in all, in the proportion of the `usual` ones.

    But of a short time the tokenizer has half until it has its usual steps: no sample is better
    than what it draws back.
    """
    usual_seconds = {name: usual[name] * step_seconds[name] for name in usual}
    share = usual_seconds["tokenizer"] / sum(usual_seconds.values())
    of_tokenizer = max(share * seconds, min(seconds / 2, usual_seconds["tokenizer"]))
    given = {"tokenizer": of_tokenizer, "generator": seconds - of_tokenizer}
    return {name: max(LEAST_STEPS, round(given[name] / step_seconds[name])) for name in usual}


def _measure(plan: plans.Plan, minutes: float) -> dict[str, Any]:
    """Times some steps of each stage on made-up data, once the real ones are known to be there."""
    names = sources.open_images(plan.tokenizer.data).class_names
    progress.say("timing a few steps of both stages, compiling them first (about a minute)")
    configs = {"tokenizer": plan.tokenizer, "generator": _with_space(plan, len(names))}
    seconds = {name: _step_seconds(config) for name, config in configs.items()}
    usual = {name: config.train.num_steps for name, config in configs.items()}
    steps = steps_in(60 * minutes, usual, seconds)
    told = " and ".join(
        f"{steps[name]:,} of the {name} (at {seconds[name]:.3g} s)" for name in steps
    )
    progress.say(f"{minutes:g} minutes of training are {told}")
    return {"minutes": minutes, **steps, "step_seconds": seconds}


def _step_seconds(config: Any) -> float:
    found, mesh = synthetic.assumed(config), experiments.mesh_of(config)
    with jax.set_mesh(mesh):
        return step_speed.measure(config, found, mesh, NUM_TIMED)["step_seconds"]


def _with_space(plan: plans.Plan, num_classes: int) -> Any:
    """The generator's config with the sizes of codes that are not there yet."""
    model = experiments.assumed(plan.tokenizer).model
    names = ("grid", "depth", "codebook_size", "code_dim")
    space = {name: getattr(model, name) for name in names} | {"num_classes": num_classes}
    return configs.change(plan.generator, {"space": space, "data.codes": ""})


def _read(path: pathlib.Path) -> dict[str, Any]:
    way_out = "remove it, or name another --workdir"
    kept = json_files.read(path, way_out)
    steps = [kept.get(name) for name in ("tokenizer", "generator")]
    is_good = isinstance(kept.get("minutes"), int | float) and all(
        isinstance(number, int) and number > 0 for number in steps
    )
    if not is_good:
        raise errors.UserError(f"{path} is damaged; {way_out}")
    return kept
