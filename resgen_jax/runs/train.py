"""Training a config from the start or going on: data opened, the loop run, figures told."""

import os
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax

from resgen_jax import recipes
from resgen_jax.core import trees
from resgen_jax.runs import (
    consensus,
    experiments,
    noise,
    online_evaluation,
    places,
    progress,
    remarks,
    schedules,
    synthetic,
)
from resgen_jax.runtime import processes
from resgen_jax.training import loop
from resgen_jax.training.state import TrainState
from resgen_jax.training.telemetry import flops, inspection

SECONDS_TO_OPEN = 3600.0  # the first process to come waits for the slowest disk
TFLOPS = "tflops_per_device"
# What stands beside the bar, where the task measures it.
SHOWN = {
    "loss": "loss",
    "code_loss": "code loss",
    "held_out/loss": "held-out loss",
    "examples_per_second": "images/s",
    TFLOPS: "TFLOP/s/device",
    "mfu": "MFU",
}


def train(
    config: Any,
    workdir: str | os.PathLike,
    evaluators: Sequence[loop.Evaluator] = (),
    *,
    inspect: inspection.Spec = inspection.NOTHING,
    began: float | None = None,
) -> TrainState:
    """The state after the config's last step; raises loop.Stopped after a signal.

    The run directory is this run's alone meanwhile: UserError where another one trains in it.

    `began`: when that was asked for, by time.perf_counter; now, unless it is given.
    """
    began = time.perf_counter() if began is None else began
    consensus.on_run(config, workdir)
    with consensus.alone(workdir, progress.say):
        return _train(config, workdir, evaluators, inspect, began)


def _train(
    config: Any,
    workdir: str | os.PathLike,
    evaluators: Sequence[loop.Evaluator],
    inspect: inspection.Spec,
    began: float,
) -> TrainState:
    notes = progress.Notes()
    spec = config.train
    more: tuple[loop.Evaluator, ...] = ()
    if noise.is_marked(config):
        experiment = synthetic.open_experiment(config, workdir)
        progress.say("synthetic data: what this trains is of no use but to measure speed")
    else:
        config = places.settle_missing(config, workdir, notes)
        new_rates = schedules.change(config, workdir)
        experiment = experiments.open_experiment(config, workdir, notes)
        if new_rates:
            progress.say(new_rates)
        # Who cannot read its data says so here, before the others wait for it on their devices.
        processes.meet("the data opened", SECONDS_TO_OPEN)
        more = online_evaluation.evaluators(config, workdir, experiment, notes)
    if machines := consensus.machines():
        progress.say(f"{machines}: {_axes(experiment)}")
    if experiment.found:
        progress.say(experiment.found)
    progress.say(_sizes(config, experiment))
    with progress.phase(recipes.find(config.task).role.noun, spec.num_steps) as report:
        notes.target = report.note
        has_no_data = noise.is_marked(config)
        codebook_size = _codebook_size(experiment.model)
        remark = remarks.Remarks(codebook_size, report.note)

        def show(event: loop.Progress) -> None:
            if event.message:
                report.note(event.message)
                return
            report(event.step, shown(event.metrics))
            if not has_no_data:
                remark(event.metrics)

        return loop.run(
            experiment.task,
            spec,
            mesh=experiment.mesh,
            iterator=experiment.iterator,
            held_out=experiment.held_out,
            workdir=workdir,
            seed=config.seed,
            progress=show,
            evaluators=(*evaluators, *more),
            inspect=inspect,
            began=began,
            begin=experiment.begin,
        )


def _codebook_size(model: Any) -> int:
    """Entries of a codebook of a tokenizer's codes, or of those that a generator makes."""
    space = getattr(model, "space", None)
    return model.codebook_size if space is None else space.codes.codebook_size


def shown(metrics: Mapping[str, float]) -> dict[str, float]:
    """What stands beside the bar, by the words it has there."""
    found = {name: metrics[name] for name in SHOWN if name in metrics}
    if found.get(TFLOPS, 0.0) < flops.TELLING:
        found.pop(TFLOPS, None)
    return {SHOWN[name]: value for name, value in found.items()}


def _sizes(config: Any, experiment: experiments.Experiment) -> str:
    """One line: what is trained, on which mesh."""
    recipe = recipes.find(config.task)
    params = jax.eval_shape(experiment.task.init, jax.random.key(0)).params
    parts = {name: trees.num_parameters(params.get(name, {})) for name in recipe.auxiliary}
    count = f"{trees.num_parameters(params) - sum(parts.values()):,} parameters"
    named = [f"{size:,} of the {recipe.auxiliary[name]}" for name, size in parts.items() if size]
    more = f" (and {', '.join(named)})" if named else ""
    return f"{recipe.role.noun}: {count}{more}; {_axes(experiment)}"


def _axes(experiment: experiments.Experiment) -> str:
    return f"mesh {', '.join(f'{axis} {size}' for axis, size in experiment.mesh.shape.items())}"
