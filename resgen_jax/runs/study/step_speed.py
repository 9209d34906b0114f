"""How long a training step takes here, on made-up data."""

import time
from typing import Any, cast

import jax
from jax.sharding import Mesh

from resgen_jax.runs import experiments, synthetic
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import programs
from resgen_jax.training.telemetry import flops


def measure(config: Any, found: experiments.Assumed, mesh: Mesh, num_steps: int) -> dict[str, Any]:
    """Seconds of compiling and of a step, and rates, of `num_steps` steps on made-up data."""
    task = found.task
    state = programs.initial_state(task, mesh, 0)
    batch = meshes.put_batch(mesh, synthetic.rows(found, mesh, config.data.batch_size))
    key = jax.device_put(jax.random.key(0), meshes.replicated(mesh))
    compiled, compile_seconds, *_ = programs.compile_step(task, mesh, state, batch, key)
    state, metrics = compiled(state, batch, key)
    jax.block_until_ready(metrics)
    started = time.perf_counter()
    for _ in range(num_steps):
        state, metrics = compiled(state, batch, key)
    jax.block_until_ready(metrics)
    seconds = (time.perf_counter() - started) / num_steps
    examples = config.data.batch_size / seconds
    kind = mesh.devices.flat[0].device_kind
    return {
        "batch_size": config.data.batch_size,
        "compile_seconds": compile_seconds,
        "step_seconds": seconds,
        "examples_per_second": examples,
        **flops.rates(task.flops_per_example(), examples, mesh.devices.size, kind),
        "peak_bytes_per_device": cast(Any, compiled.memory_analysis()).peak_memory_in_bytes,
    }
