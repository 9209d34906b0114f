"""`resgen scale compile`: a config's program on a TPU slice that need not be there, predicted."""

import argparse
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import ml_collections
from jax.sharding import Mesh

from resgen_jax.cli import configuration, experiments, flags, sections
from resgen_jax.core import build, errors
from resgen_jax.nn import flops
from resgen_jax.scaling import chips, compile_ahead
from resgen_jax.training import mesh as meshes
from resgen_jax.training import resgen_task

NUM_SAMPLES = 50_000  # of the usual evaluation


def add_flags(parser: flags.Parser) -> None:
    """Where to compile for, and what."""
    parser.add_argument(
        "--topology", metavar="NAME", help="compile: a TPU slice, v5e-256 or v5p-256 (cores), say"
    )
    parser.add_argument("--program", default="train", help="compile: one of " + ", ".join(PROGRAMS))


def run(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """Memory of a chip, collectives, and the least time a step can take, off the compiler."""
    text = flags.require(values, "config", "the config file", "generators/resgen_imagenet256.py")
    name = flags.require(values, "topology", "the TPU slice to compile for", "v5e-256")
    if values.program not in PROGRAMS:
        hint = build.nearest(values.program, PROGRAMS)
        raise errors.UserError(f"unknown program {values.program!r}; {hint}")
    found, config = chips.find(name), configuration.load(text, overrides)
    # Nothing runs but a few scalars, and those not on a TPU that this machine might have.
    jax.config.update("jax_platforms", "cpu")
    task = experiments.task_of(config)
    mesh = compile_ahead.make_mesh(sections.read(config, "mesh"), chips.devices(found))
    num_microbatches = sections.read(config, "optimizer").num_microbatches
    meshes.check_batch_size(mesh, config.data.batch_size, num_microbatches)
    sizes = ", ".join(f"{axis}={size}" for axis, size in mesh.shape.items())
    heading = {
        "program": values.program,
        "topology": f"{found.name}, {found.num_chips} chips ({'x'.join(map(str, found.grid))})",
        "chip": found.chip.kind,
        "mesh": sizes,
        "batch_size": config.data.batch_size,
    }
    return heading | _figures(config, found, mesh, PROGRAMS[values.program](config, task, mesh))


@dataclasses.dataclass(frozen=True)
class _Job:
    """A program to compile, with what only its config knows."""

    jitted: Any
    arguments: tuple
    parts: Mapping[str, int]  # bytes of a chip for what it takes in
    model_flops: float  # of all chips together
    whole: Mapping[str, int]  # bytes of the parameters that every chip has a copy of
    num_examples: int = 0  # of a whole job, where there is a usual size


def _train(config: ml_collections.ConfigDict, task: Any, mesh: Mesh) -> _Job:
    state, batch_size = meshes.abstract_state(mesh, task), config.data.batch_size
    batch = compile_ahead.abstract_batch(mesh, experiments.example_of(task), batch_size)
    jitted, arguments = compile_ahead.training(task, mesh, state, batch)
    return _Job(
        jitted,
        arguments,
        parts=compile_ahead.memory_parts(state) | {"batch": compile_ahead.bytes_per_chip(batch)},
        model_flops=batch_size * task.flops_per_example(),
        whole=compile_ahead.whole_parameters(state.params),
    )


def _sample(config: ml_collections.ConfigDict, task: Any, mesh: Mesh) -> _Job:
    if not isinstance(task, resgen_task.ResGenTask):
        raise errors.UserError(f"a {task.name} does not sample; use --program=train")
    state, spec = meshes.abstract_state(mesh, task), sections.read(config, "sampler")
    jitted, arguments = compile_ahead.sampling(task, spec, mesh, state, config.data.batch_size)
    params, codebooks, *rows = arguments
    return _Job(
        jitted,
        arguments,
        parts={
            "parameters": compile_ahead.bytes_per_chip(params),
            "statistics": compile_ahead.bytes_per_chip(codebooks),
            "batch": compile_ahead.bytes_per_chip(rows),
        },
        model_flops=flops.count(jitted, *arguments),
        whole=compile_ahead.whole_parameters(params),
        num_examples=NUM_SAMPLES,
    )


PROGRAMS: Mapping[str, Callable[[ml_collections.ConfigDict, Any, Mesh], _Job]] = {
    "train": _train,
    "sample": _sample,
}


def _figures(
    config: ml_collections.ConfigDict, found: chips.Slice, mesh: Mesh, job: _Job
) -> dict[str, Any]:
    done = flops.count(job.jitted, *job.arguments)
    figures = {
        "model_flops_per_step": job.model_flops,
        "flops_per_step": done,  # with what is computed twice to save memory
        "whole_on_every_chip": _whole(job.whole),
    }
    parts, available = dict(job.parts), found.chip.hbm_bytes
    try:
        program = compile_ahead.compile_program(mesh, job.jitted, job.arguments)
    except compile_ahead.OutOfMemory as failure:
        needed = failure.needed_bytes
        rest = available if needed is None else needed - sum(parts.values())
        knobs = _knobs(config, found, mesh, parts, rest)
        said = compile_ahead.verdict(needed, available, knobs, is_over=True)
        return {**figures, "memory": _memory(parts, available), "fits": False, "verdict": said}
    parts["padding"] = max(0, program.argument_bytes() - sum(parts.values()))
    parts["temporaries"] = program.temporary_bytes()
    needed = float(sum(parts.values()))
    moved = compile_ahead.moves(found, mesh, program, done / found.num_chips)
    least = moved.prediction
    num = job.num_examples
    per_second = config.data.batch_size / least.step_seconds
    knobs = _knobs(config, found, mesh, job.parts, float(parts["temporaries"]))
    return {
        **figures,
        "compile_seconds": program.compile_seconds,
        "memory": _memory(parts, available),
        "hbm_gib_moved_per_chip": moved.hbm_bytes / chips.GIB,
        "collectives": moved.collectives,
        **({"loops_of_unknown_length": len(moved.unknown_loops)} if moved.unknown_loops else {}),
        "predicted_compute_seconds": least.compute_seconds,
        "predicted_hbm_seconds": least.hbm_seconds,
        "predicted_link_seconds": least.link_seconds,
        "predicted_step_seconds": least.step_seconds,
        "predicted_bound": least.bound,
        "predicted_mfu": least.mfu(job.model_flops / found.num_chips, found.chip),
        "predicted_examples_per_second": per_second,
        **({f"predicted_seconds_of_{num}": num / per_second} if num else {}),
        "fits": needed <= available,
        "verdict": compile_ahead.verdict(needed, available, knobs),
    }


def _memory(parts: Mapping[str, int], available: float) -> list[dict[str, Any]]:
    rows = {**parts, "together": sum(parts.values()), "HBM": available}
    return [
        {"part": name, "gib_per_chip": size / chips.GIB, "share_of_hbm": size / available}
        for name, size in rows.items()
    ]


def _whole(parameters: Mapping[str, int]) -> str:
    """Parameters of which every chip has a copy: how many, how much, the largest."""
    if not parameters:
        return "no parameter of a MiB or more"
    largest = max(parameters, key=parameters.__getitem__)
    total = sum(parameters.values()) / chips.GIB
    return f"{len(parameters)} parameters, {total:.3f} GiB (the largest: {largest})"


def _knobs(
    config: ml_collections.ConfigDict,
    found: chips.Slice,
    mesh: Mesh,
    parts: Mapping[str, int],
    temporaries: float,
) -> Sequence[str]:
    """What would take less memory and is not set yet, what saves the most first."""
    state, shards = sum(parts.values()), mesh.shape["data"] * mesh.shape["fsdp"]
    of_state = []
    if mesh.shape["fsdp"] < found.num_chips // mesh.shape["tensor"]:
        of_state.append(f"--config.mesh.fsdp={min(4 * mesh.shape['fsdp'], shards)}")
    of_rest, model = [], config.model.to_dict()
    trunk = model.get("trunk", {})
    if trunk.get("remat", "full") != "full":
        of_rest.append("--config.model.trunk.remat=full")
    if trunk.get("compute_dtype") == "float32":
        of_rest.append("--config.model.trunk.compute_dtype=bfloat16")
    if model.get("dtype") == "float32":
        of_rest.append("--config.model.dtype=bfloat16")
    wanted = 2 * config.optimizer.num_microbatches
    if config.data.batch_size % (wanted * shards) == 0:
        of_rest.append(f"--config.optimizer.num_microbatches={wanted}")
    if config.data.batch_size > shards:
        of_rest.append(f"--config.data.batch_size={max(shards, config.data.batch_size // 2)}")
    ordered = of_state + of_rest if state > temporaries else of_rest + of_state
    return [*ordered, "more chips, or chips with more memory"]
