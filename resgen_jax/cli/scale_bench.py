"""`resgen scale` on one model: its size, and its speed here."""

import argparse
import statistics
from typing import Any

import jax

from resgen_jax.cli import flags, scale_data
from resgen_jax.core import build, errors, trees
from resgen_jax.evaluation import environment, single_plot
from resgen_jax.io import paths
from resgen_jax.runs import experiments, run_directory, synthetic
from resgen_jax.runs.configs import configuration
from resgen_jax.runs.study import bench as bench_programs
from resgen_jax.runs.study import step_speed
from resgen_jax.scaling import counts, sampler_bench, timing
from resgen_jax.training.telemetry import flops


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
    """Seconds of the programs of configs on made-up data, run in turn, at one depth or several."""
    names = tuple(word for word in values.programs.split(",") if word)
    configs = {text: _load(values, overrides, text) for text in _texts(values)}
    rows, made = [], []
    for text, config in configs.items():
        for depth in values.depths or (None,):
            sized = config if depth is None else bench_programs.at_depth(config, depth)
            label = {"config": text, **({} if depth is None else {"depth": depth})}
            for program in _programs(sized, names):
                rows.append(label)
                made.append(program)
    seconds = timing.in_turn(made, values.num_steps)
    first = next(iter(configs.values()))
    table = [
        label | timing.row(program, times)
        for label, program, times in zip(rows, made, seconds, strict=True)
    ]
    if values.output and len(values.depths) > 1:
        picture = paths.of(values.output).with_suffix(".png")
        run_directory.save_picture(picture, _by_depth(table))
    return {
        **_heading(first),
        **(_rates(first, made, seconds) if len(configs) == 1 and not values.depths else {}),
        "programs": table,
    }


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


def sampler(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """What sampling costs beside its network calls, and how it grows with depth."""
    del overrides
    if values.head not in sampler_bench.HEADS:
        hint = build.nearest(values.head, sampler_bench.HEADS)
        raise errors.UserError(f"--head is {values.head!r}; {hint}")
    how = {"num_repeats": values.num_steps, "head": values.head}
    overhead = sampler_bench.measure_overhead(**how)
    by_depth = sampler_bench.measure_depth_ratio(**how)
    return overhead | {"depths": by_depth["depths"], "depth_ratio": by_depth["ratio"]}


def _by_depth(table: list[dict[str, Any]]) -> Any:
    """Seconds against depth, a line for each program of each config."""
    found: dict[str, list[tuple[int, float]]] = {}
    for row in table:
        name = f"{row['config'].removeprefix('generators/')} {row['program']}"
        found.setdefault(name, []).append((row["depth"], row["seconds"]))
    told = {"title": "Seconds of a batch", "below": "depth of the codes", "beside": "seconds"}
    return single_plot.lines(found, **told)


def _texts(values: argparse.Namespace) -> list[str]:
    first = flags.require(values, "config", "the config file", "generators/resgen_digits.py")
    return [first, *values.beside]


def _load(values: argparse.Namespace, overrides: flags.Overrides, text: str | None = None) -> Any:
    """The config, for codes of the sizes that --space gives where it names none."""
    if text is None:
        example = "generators/resgen_digits.py"
        text = flags.require(values, "config", "the config file", example)
    config = configuration.load(text, overrides)
    sizes = getattr(values, "space", None)
    return config if sizes is None else bench_programs.with_space(config, sizes)


def _programs(config: Any, names: tuple[str, ...]) -> list[timing.Program]:
    assumed, mesh = synthetic.assumed(config), experiments.mesh_of(config)
    with jax.set_mesh(mesh):
        return [
            bench_programs.PROGRAMS[name](config, assumed, mesh)
            for name in bench_programs.chosen(assumed, names)
        ]


def _heading(config: Any) -> dict[str, Any]:
    mesh = experiments.mesh_of(config)
    described = environment.describe()
    return {
        "device": f"{mesh.devices.size} x {mesh.devices.flat[0].device_kind}",
        "processor": described["Processor"],
        "versions": described["Libraries"],
        "dtype": bench_programs.dtype_of(config.model),
        "batch_size": config.data.batch_size,
    }


def _rates(config: Any, made: list[timing.Program], seconds: list[list[float]]) -> dict[str, Any]:
    """Operations a second of the training step, where it was timed."""
    by_name = {each.name: times for each, times in zip(made, seconds, strict=True)}
    if "train" not in by_name:
        return {}
    mesh, examples = experiments.mesh_of(config), config.data.batch_size
    per_second = examples / statistics.median(by_name["train"])
    task, kind = synthetic.assumed(config).task, mesh.devices.flat[0].device_kind
    return flops.rates(task.flops_per_example(), per_second, mesh.devices.size, kind)
