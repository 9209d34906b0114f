"""`resgen scale` on one model: its size, and its speed here."""

import argparse
import time
from typing import Any

import jax
import numpy as np

from resgen_jax.cli import flags, scale_data
from resgen_jax.core import keys, trees
from resgen_jax.runs import experiments, open_run, synthetic
from resgen_jax.runs.configs import configuration
from resgen_jax.runs.study import step_speed
from resgen_jax.scaling import counts, encoder_bench, rvq_bench, sampler_bench
from resgen_jax.training import programs


def count(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """Parameters, by part and together, and FLOPs, from shapes alone."""
    config = _load(values, overrides)
    task: Any = experiments.assumed(config).task
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


def data(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
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


def rvq(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """RVQ encoding beside vector-quantize-pytorch on the same cores."""
    del overrides
    return rvq_bench.compare(num_runs=values.num_steps)


def encoder(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """Images to codes, beside the same RQ-VAE in PyTorch on the same cores."""
    del overrides
    return encoder_bench.compare(batch_size=values.batch_size, num_runs=values.num_steps)


def sampler(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """What sampling costs beside its network calls, and how it grows with depth."""
    del overrides
    overhead = sampler_bench.measure_overhead(num_repeats=values.num_steps)
    by_depth = sampler_bench.measure_depth_ratio(num_repeats=values.num_steps)
    return overhead | {"depths": by_depth["depths"], "depth_ratio": by_depth["ratio"]}


def _load(values: argparse.Namespace, overrides: flags.Overrides) -> Any:
    text = flags.require(values, "config", "the config file", "generators/resgen_digits.py")
    return configuration.load(text, overrides)


def _bench_sampling(config: Any, assumed: experiments.Assumed, mesh: Any) -> dict[str, Any]:
    spec, model = config.sampler, assumed.model
    state = programs.initial_state(assumed.task, mesh, 0)
    plan, sampler = model.plan(spec, model.space.num_tokens), model.sampler(spec)
    index = np.arange(config.data.batch_size, dtype=np.int32)
    rows = open_run.put_rows(mesh, {"index": index, "labels": index % model.space.num_classes})
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
