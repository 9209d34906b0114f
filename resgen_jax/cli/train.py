"""`resgen train`: a tokenizer on images or a generator on codes, from the start or going on."""

import argparse
import os
import time
from collections.abc import Sequence
from typing import Any

import jax
import ml_collections

from resgen_jax.cli import (
    agreeing,
    configuration,
    experiments,
    flags,
    noise,
    online_evaluation,
    progress,
    remarks,
    schedules,
    sections,
    synthetic,
)
from resgen_jax.core import trees
from resgen_jax.runtime import interruption, processes
from resgen_jax.training import loop
from resgen_jax.training.state import TrainState
from resgen_jax.training.telemetry import inspection

STOPPED = 3
SECONDS_TO_OPEN = 3600.0  # the first process to come waits for the slowest disk
NAMES = {"rq_vae": "tokenizer", "resgen": "generator"}
NEXT = {
    "rq_vae": "encode",
    "resgen": "sample",
}
# What stands beside the bar, where the task measures it.
SHOWN = {
    "loss": "loss",
    "code_loss": "code loss",
    "held_out/loss": "held-out loss",
    "examples_per_second": "images/s",
    "tflops_per_device": "TFLOP/s/device",
    "mfu": "MFU",
}
IMPORTED = time.perf_counter()


def add_flags(parser: flags.Parser) -> None:
    """--config and --workdir, and what to look into besides."""
    parser.add_argument(
        "--config",
        metavar="FILE[:words]",
        help="a config file, yours or one of the package; --config.any.field=value sets a field",
    )
    flags.add_workdir(parser, "run directory: made, or gone on with if it holds this config's run")
    parser.add_argument(
        "--profile_steps",
        metavar="FIRST:END",
        help="trace these steps into WORKDIR/profile, on the first process: 100:110 are ten",
    )
    parser.add_argument(
        "--dump_hlo",
        action="store_true",
        help="write the program of a step into WORKDIR/programs: jaxpr, StableHLO, HLO, memory",
    )
    parser.add_argument(
        "--synthetic_data",
        action="store_true",
        help="train on noise of the right shapes, to measure speed: no data, and no use after",
    )
    parser.allow_buckets("workdir")


def run(values: argparse.Namespace, overrides: flags.Overrides) -> int:
    """Trains to the end; 3 if it was stopped, after saving."""
    text = flags.require(values, "config", "the config file", "tokenizers/rq_vae_digits.py")
    workdir = flags.require(values, "workdir", "where the run is kept", "runs/tokenizer")
    config = configuration.load(text, overrides)
    if values.synthetic_data:
        noise.mark(config)
    steps = inspection.steps(values.profile_steps) if values.profile_steps else inspection.NO_STEPS
    inspect = inspection.Spec(steps, dumps_programs=values.dump_hlo)
    try:
        with interruption.Interruption() as early, early.cutting():
            state = train(config, workdir, inspect=inspect, began=IMPORTED)
    except interruption.Cut:  # while modules and data were opened
        progress.say("resgen train: stopped before training began: nothing to save")
        progress.say(f"go on with: {values.command}")
        return STOPPED
    except loop.Stopped as stopped:
        progress.say(f"resgen train: {stopped}")
        progress.say(f"go on with: {values.command}")
        return STOPPED
    progress.result(f"done: {int(state.step)} steps in {workdir}")
    if not noise.is_marked(config):
        progress.result(f"next: resgen {NEXT[config.task]} {flags.written('workdir', workdir)}")
    return 0


def train(
    config: ml_collections.ConfigDict,
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
    agreeing.on_run(config, workdir)
    with agreeing.alone(workdir, progress.say):
        return _train(config, workdir, evaluators, inspect, began)


def _train(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike,
    evaluators: Sequence[loop.Evaluator],
    inspect: inspection.Spec,
    began: float,
) -> TrainState:
    notes = progress.Notes()
    spec = sections.read(config, "train")
    if noise.is_marked(config):
        experiment, more = synthetic.open_experiment(config, workdir), ()
        progress.say("synthetic data: what this trains is of no use but to measure speed")
    else:
        new_rates = schedules.change(config, workdir)
        experiment = experiments.open_experiment(config, workdir, notes)
        if new_rates:
            progress.say(new_rates)
        # Who cannot read its data says so here, before the others wait for it on their devices.
        processes.meet("the data opened", SECONDS_TO_OPEN)
        more = online_evaluation.evaluators(config, workdir, experiment, notes)
    if machines := agreeing.machines():
        progress.say(f"{machines}: {_axes(experiment)}")
    if experiment.found:
        progress.say(experiment.found)
    progress.say(_sizes(experiment))
    with progress.phase(NAMES[config.task], spec.num_steps) as report:
        notes.target = report.note
        has_no_data = noise.is_marked(config)
        remark = remarks.Remarks(_codebook_size(experiment.task), report.note)

        def show(event: loop.Progress) -> None:
            if event.message:
                report.note(event.message)
                return
            values = {SHOWN[name]: event.metrics[name] for name in SHOWN if name in event.metrics}
            report(event.step, values)
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


def _codebook_size(task: Any) -> int:
    return (task.tokenizer if task.name == "rq_vae" else task.space).codebook_size


def _sizes(experiment: experiments.Experiment) -> str:
    """One line: what is trained, on which mesh."""
    task = experiment.task
    params = jax.eval_shape(task.init, jax.random.key(0)).params
    auxiliary = trees.num_parameters(params.get("codes", {}))
    count = f"{trees.num_parameters(params) - auxiliary:,} parameters"
    if auxiliary:
        count += f" (and {auxiliary:,} of the code head)"
    return f"{NAMES[task.name]}: {count}; {_axes(experiment)}"


def _axes(experiment: experiments.Experiment) -> str:
    return f"mesh {', '.join(f'{axis} {size}' for axis, size in experiment.mesh.shape.items())}"
