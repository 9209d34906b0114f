"""`resgen train`: a tokenizer on images or a generator on codes, from the start or going on."""

import argparse
import os
from collections.abc import Sequence

import jax
import ml_collections

from resgen_jax.cli import (
    agreeing,
    configuration,
    experiments,
    flags,
    online_evaluation,
    progress,
    sections,
)
from resgen_jax.core import trees
from resgen_jax.training import loop, processes
from resgen_jax.training.state import TrainState

STOPPED = 3
SECONDS_TO_OPEN = 3600.0  # the first process to come waits for the slowest disk
NAMES = {"rq_vae": "tokenizer", "resgen": "generator"}
NEXT = {
    "rq_vae": "resgen encode --workdir={workdir}",
    "resgen": "resgen sample --workdir={workdir}",
}
# What stands beside the bar, where the task measures it.
SHOWN = {
    "loss": "loss",
    "code_loss": "code loss",
    "held_out/loss": "held-out loss",
    "examples_per_second": "images/s",
}


def add_flags(parser: flags.Parser) -> None:
    """--config and --workdir."""
    parser.add_argument(
        "--config",
        metavar="FILE[:words]",
        help="a config file, yours or one of the package; --config.any.field=value sets a field",
    )
    flags.add_workdir(parser, "run directory: made, or gone on with if it holds this config's run")
    parser.allow_buckets("workdir")


def run(values: argparse.Namespace, overrides: flags.Overrides) -> int:
    """Trains to the end; 3 if it was stopped, after saving."""
    text = flags.require(values, "config", "the config file", "tokenizers/rq_vae_digits.py")
    workdir = flags.require(values, "workdir", "where the run is kept", "runs/tokenizer")
    config = configuration.load(text, overrides)
    try:
        state = train(config, workdir)
    except loop.Stopped as stopped:
        progress.say(f"resgen train: stopped after step {stopped.step}, and saved")
        progress.say(f"go on with: {values.command}")
        return STOPPED
    progress.result(f"done: {int(state.step)} steps in {workdir}")
    progress.result(f"next: {NEXT[config.task].format(workdir=workdir)}")
    return 0


def train(
    config: ml_collections.ConfigDict,
    workdir: str | os.PathLike,
    evaluators: Sequence[loop.Evaluator] = (),
) -> TrainState:
    """The state after the config's last step; raises loop.Stopped after a signal."""
    notes = progress.Notes()
    agreeing.on_run(config, workdir)
    experiment = experiments.open_experiment(config, workdir, notes)
    # Who cannot read its data says so here, before the others wait for it on their devices.
    processes.meet("the data opened", SECONDS_TO_OPEN)
    spec = sections.read(config, "train")
    more = online_evaluation.evaluators(config, workdir, experiment, notes)
    if machines := agreeing.machines():
        progress.say(f"{machines}: {_axes(experiment)}")
    progress.say(_sizes(experiment))
    with progress.phase(NAMES[config.task], spec.num_steps) as report:
        notes.target = report.note

        def show(event: loop.Progress) -> None:
            if event.message:
                report.note(event.message)
                return
            values = {SHOWN[name]: event.metrics[name] for name in SHOWN if name in event.metrics}
            report(event.step, values)

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
        )


def _sizes(experiment: experiments.Experiment) -> str:
    """One line: what is trained, on which mesh."""
    task = experiment.task
    params = jax.eval_shape(task.init, jax.random.key(0)).params
    auxiliary = trees.num_parameters(params.get("codes", {}))
    count = f"{trees.num_parameters(params) - auxiliary:,} parameters"
    if auxiliary:
        count += f" (and {auxiliary:,} of the code head, for training only)"
    return f"{NAMES[task.name]}: {count}; {_axes(experiment)}"


def _axes(experiment: experiments.Experiment) -> str:
    return f"mesh {', '.join(f'{axis} {size}' for axis, size in experiment.mesh.shape.items())}"
