"""`resgen scale`: a model's size, its speed here or on a pod, and how its loss scales."""

import argparse
from collections.abc import Callable, Mapping

from resgen_jax.cli import flags, scale_bench, scale_compile, scale_data, scale_study, tables
from resgen_jax.cli.actions import Action
from resgen_jax.core import shell
from resgen_jax.io import paths
from resgen_jax.runs import progress, run_directory, train
from resgen_jax.training import loop
from resgen_jax.training.telemetry import flops

STOPPED = 3


def run(values: argparse.Namespace, overrides: flags.Overrides) -> int:
    """Prints the figures of one action, a line each; 3 if a study was stopped, after saving."""
    for name in ("num_steps", "batch_size"):
        if name in values:
            shell.at_least(name, getattr(values, name), 1)
    if values.output:
        output = paths.of(values.output)
        run_directory.check_writable(output.parent, output.name)
    try:
        found = ACTIONS[values.action].run(values, overrides)
    except loop.Stopped as stopped:
        progress.say(f"resgen scale: stopped after step {stopped.step} of a run, and saved")
        progress.say(f"go on with: {values.command}")
        return STOPPED
    for name, value in found.items():
        if name == train.TFLOPS and value < flops.TELLING:
            continue
        is_table = isinstance(value, list) and value and isinstance(value[0], dict)
        line = f"{name + ':':<32}{'' if is_table else tables.written(value)}"
        progress.result("\n".join([line.rstrip(), *(tables.lines(value) if is_table else ())]))
    if values.output:
        run_directory.write_json(output, found)
    return 0


def _with_config(parser: flags.Parser) -> None:
    parser.add_argument("--config", metavar="FILE[:words]", help="of a run")
    _with_output(parser)


def _with_output(parser: flags.Parser) -> None:
    parser.add_argument("--output", metavar="FILE", help="also write the figures as JSON")
    parser.allow_buckets("output")


def _with_steps(parser: flags.Parser) -> None:
    parser.add_argument("--num_steps", type=int, default=20, help="timed steps (%(default)s)")


def _timed(parser: flags.Parser) -> None:
    _with_steps(parser)
    _with_output(parser)


def _bench_flags(parser: flags.Parser) -> None:
    _with_config(parser)
    _with_steps(parser)


def _data_flags(parser: flags.Parser) -> None:
    _bench_flags(parser)
    scale_data.add_flags(parser)


def _encoder_flags(parser: flags.Parser) -> None:
    _timed(parser)
    parser.add_argument("--batch_size", type=int, default=64, help="images a time (%(default)s)")


def _compile_flags(parser: flags.Parser) -> None:
    _with_config(parser)
    scale_compile.add_flags(parser)


def _of_a_study(add_flags: Callable[[flags.Parser], None]) -> Callable[[flags.Parser], None]:
    """The flags of an action on studies."""

    def add(parser: flags.Parser) -> None:
        add_flags(parser)
        _with_output(parser)
        parser.allow_buckets("workdir", "output")

    return add


ACTIONS: Mapping[str, Action] = {
    "count": Action(
        scale_bench.count,
        _with_config,
        "count the parameters and FLOPs of a config, by part and module, without building it",
        "resgen scale count --config=generators/resgen_imagenet256.py:depth16,576m",
    ),
    "bench": Action(
        scale_bench.bench,
        _bench_flags,
        "time a training step of a config here, on made-up data, and a generator's sampling",
        "resgen scale bench --config=tokenizers/rq_vae_digits.py --num_steps=20",
    ),
    "data": Action(
        scale_bench.data,
        _data_flags,
        "hold a config's data pipeline against its training step",
        "resgen scale data --config=tokenizers/rq_vae_digits.py --step_seconds=0.3",
    ),
    "rvq": Action(
        scale_bench.rvq,
        _timed,
        "time RVQ encoding beside vector-quantize-pytorch (extra peers)",
        "resgen scale rvq --num_steps=7",
    ),
    "encoder": Action(
        scale_bench.encoder,
        _encoder_flags,
        "time images to codes beside the same RQ-VAE in PyTorch (extra peers)",
        "resgen scale encoder --batch_size=16",
    ),
    "sampler": Action(
        scale_bench.sampler,
        _timed,
        "measure what sampling costs beside its network calls, and how it grows with depth",
        "resgen scale sampler --num_steps=3",
    ),
    "compile": Action(
        scale_compile.run,
        _compile_flags,
        "predict memory and speed on a TPU slice that need not be there (extra tpu)",
        "resgen scale compile --config=generators/resgen_imagenet256.py --topology=v5e-256",
    ),
    "plan": Action(
        scale_study.plan,
        _of_a_study(scale_study.add_plan_flags),
        "list the runs of a study with their cost, and how far they are",
        'resgen scale plan --config=scaling/resgen_digits.py --chip="TPU v5e" --mfu=0.4',
    ),
    "run": Action(
        scale_study.run,
        _of_a_study(scale_study.add_run_flags),
        "train the runs of a study that are not finished",
        "resgen scale run --config=scaling/resgen_digits.py --workdir=runs/study",
    ),
    "fit": Action(
        scale_study.fit,
        _of_a_study(scale_study.add_fit_flags),
        "fit a power law through the runs of a study that are finished, and plot it",
        "resgen scale fit --workdir=runs/study",
    ),
}
