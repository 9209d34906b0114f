"""`resgen scale`: a model's size, its speed here or on a pod, and how its loss scales."""

import argparse
from collections.abc import Callable, Mapping
from typing import Any

from resgen_jax.cli import (
    flags,
    scale_bench,
    scale_compare,
    scale_compile,
    scale_study,
    tables,
)
from resgen_jax.core import shell
from resgen_jax.io import paths
from resgen_jax.runs import progress, run_directory, train
from resgen_jax.training import loop
from resgen_jax.training.telemetry import flops

STOPPED = 3
# What each action of `scale_flags` does.
ACTIONS: Mapping[str, Callable[..., dict[str, Any]]] = {
    "count": scale_bench.count,
    "bench": scale_bench.bench,
    "data": scale_bench.data,
    "sampler": scale_bench.sampler,
    "compile": scale_compile.run,
    "plan": scale_study.plan,
    "run": scale_study.run,
    "fit": scale_study.fit,
    "compare": scale_compare.run,
}


def run(values: argparse.Namespace, overrides: flags.Overrides) -> int:
    """Prints the figures of one action, a line each; 3 if a study was stopped, after saving."""
    if "num_steps" in values:
        shell.at_least("num_steps", values.num_steps, 1)
    if values.output:
        output = paths.of(values.output)
        run_directory.check_writable(output.parent, output.name)
    try:
        found = ACTIONS[values.action](values, overrides)
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
