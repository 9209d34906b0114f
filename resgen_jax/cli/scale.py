"""`resgen scale`: a model's size, its speed here or on a pod, and how its loss scales."""

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from resgen_jax.cli import flags, scale_compile, scale_data, scale_study, tables, train
from resgen_jax.core import build, errors, keys, shell, trees
from resgen_jax.io import paths
from resgen_jax.runs import experiments, open_run, progress, run_directory, synthetic
from resgen_jax.runs.configs import configuration
from resgen_jax.runs.study import step_speed
from resgen_jax.scaling import counts, encoder_bench, rvq_bench, sampler_bench
from resgen_jax.training import loop, programs


def add_flags(parser: flags.Parser) -> None:
    """The action, and what it is done with."""
    parser.add_argument("action", nargs="?", help="one of " + ", ".join(ACTIONS))
    parser.add_argument("--config", metavar="FILE[:words]", help="of a run, or of a study")
    parser.add_argument("--num_steps", type=int, default=20, help="timed steps (%(default)s)")
    parser.add_argument(
        "--batch_size", type=int, default=64, help="encoder: images at a time (%(default)s)"
    )
    parser.add_argument("--output", metavar="FILE", help="also write the figures as JSON")
    scale_data.add_flags(parser)
    scale_compile.add_flags(parser)
    scale_study.add_flags(parser)


def run(values: argparse.Namespace, overrides: flags.Overrides) -> int:
    """Prints the figures of one action, a line each; 3 if a study was stopped, after saving."""
    if values.action not in ACTIONS:
        said = f"unknown action {values.action!r}" if values.action else "the action is missing"
        hint = build.nearest(values.action or "", ACTIONS)
        raise errors.UserError(f"{said}; {hint}, e.g. resgen scale bench --config=FILE")
    shell.at_least("num_steps", values.num_steps, 1)
    shell.at_least("batch_size", values.batch_size, 1)
    if values.output:
        output = paths.of(values.output)
        run_directory.check_writable(output.parent, output.name)
    try:
        found = ACTIONS[values.action](values, overrides)
    except loop.Stopped as stopped:
        progress.say(f"resgen scale: stopped after step {stopped.step} of a run, and saved")
        progress.say(f"go on with: {values.command}")
        return train.STOPPED
    for name, value in found.items():
        is_table = isinstance(value, list) and value and isinstance(value[0], dict)
        line = f"{name + ':':<32}{'' if is_table else tables.written(value)}"
        progress.result("\n".join([line.rstrip(), *(tables.lines(value) if is_table else ())]))
    if values.output:
        run_directory.write_json(output, found)
    return 0


def count(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """Parameters, by part and together, and FLOPs, from shapes alone."""
    config = _load(values, overrides)
    task = experiments.assumed(config).task
    params = jax.eval_shape(task.init, jax.random.key(0)).params
    parts = {f"parameters/{name}": trees.num_parameters(part) for name, part in params.items()}
    return {
        "parameters": trees.num_parameters(params),
        **parts,
        "training_flops_per_example": task.flops_per_example(),
        "modules": counts.by_module(task.forward_program),
    }


def bench(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """Seconds of a training step on made-up data, and of sampling for a generator."""
    config = _load(values, overrides)
    assumed, mesh = synthetic.assumed(config), experiments.mesh_of(config)
    with jax.set_mesh(mesh):
        found = step_speed.measure(config, assumed, mesh, values.num_steps)
        if assumed.recipe.sampler is not None:
            found |= _bench_sampling(config, assumed, mesh)
    devices = mesh.devices.size
    return {"device": f"{devices} x {mesh.devices.flat[0].device_kind}", **found}


def bench_data(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """What the data pipeline of a config gives, against what its step takes."""
    scale_data.check_step_seconds(values.step_seconds)
    config = _load(values, overrides)

    def step_seconds() -> float:
        if values.step_seconds is not None:
            return values.step_seconds
        assumed, mesh = synthetic.assumed(config), experiments.mesh_of(config)
        with jax.set_mesh(mesh):
            found = step_speed.measure(config, assumed, mesh, min(values.num_steps, 5))
        return found["step_seconds"]

    return scale_data.measure(config, values.num_steps, step_seconds)


def bench_rvq(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """RVQ encoding beside vector-quantize-pytorch on the same cores."""
    del overrides
    return rvq_bench.compare(num_runs=values.num_steps)


def bench_encoder(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """Images to codes, beside the same RQ-VAE in PyTorch on the same cores."""
    del overrides
    return encoder_bench.compare(batch_size=values.batch_size, num_runs=values.num_steps)


def bench_sampler(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """What sampling costs beside its network calls, and how it grows with depth."""
    del overrides
    overhead = sampler_bench.measure_overhead(num_repeats=values.num_steps)
    by_depth = sampler_bench.measure_depth_ratio(num_repeats=values.num_steps)
    return overhead | {"depths": by_depth["depths"], "depth_ratio": by_depth["ratio"]}


ACTIONS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "count": count,
    "bench": bench,
    "data": bench_data,
    "rvq": bench_rvq,
    "encoder": bench_encoder,
    "sampler": bench_sampler,
    "compile": scale_compile.run,
    "plan": scale_study.plan,
    "run": scale_study.run,
    "fit": scale_study.fit,
}


def _load(values: argparse.Namespace, overrides: flags.Overrides) -> Any:
    text = flags.require(values, "config", "the config file", "generators/resgen_digits.py")
    return configuration.load(text, overrides)


def _bench_sampling(config, assumed: experiments.Assumed, mesh) -> dict[str, Any]:
    spec, model = config.sampler, assumed.model
    state = programs.initial_state(assumed.task, mesh, 0)
    plan, sampler, space = (
        model.plan(spec, model.space.num_tokens),
        model.sampler(spec),
        model.space,
    )
    index = np.arange(config.data.batch_size, dtype=np.int32)
    rows = open_run.put_rows(mesh, {"index": index, "labels": index % space.num_classes})
    row_keys = jax.jit(lambda index: keys.example_keys(jax.random.key(0), index))(rows["index"])
    inputs = (state.params, state.statistics["codebooks"], row_keys, rows["labels"], plan)
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        jax.block_until_ready(sampler.sample(*inputs))
        seconds.append(time.perf_counter() - started)
    return {
        "sampling_first_call_seconds": seconds[0],
        "sampling_seconds": min(seconds[1:]),
        "samples_per_second": config.data.batch_size / min(seconds[1:]),
        **({"sampling_steps": spec.num_steps} if hasattr(spec, "num_steps") else {}),
    }
