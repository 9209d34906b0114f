"""`resgen scale compile`: a config's program on a TPU slice that need not be there, predicted."""

import argparse
import dataclasses
import importlib.metadata
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax.sharding import Mesh

from resgen_jax.cli import flags
from resgen_jax.core import build, errors
from resgen_jax.nn import flops
from resgen_jax.runs import experiments
from resgen_jax.runs.configs import configuration
from resgen_jax.runs.study import compile_jobs, compile_table
from resgen_jax.runtime import mesh as meshes
from resgen_jax.scaling.compile import chips, compile_ahead

TEMPORARIES = (
    "gradients, gathered weights, results of single operations and outputs, where they are the most"
)


def run(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """Memory of a chip, collectives, and the least time a step can take, off the compiler."""
    # Nothing runs but a few scalars, and those not on a TPU that this machine might have.
    jax.config.update("jax_platforms", "cpu")
    if values.table:
        compile_table.show(values.table)
        return {}
    text = flags.require(values, "config", "the config file", "generators/resgen_imagenet256.py")
    name = flags.require(values, "topology", "the TPU slice to compile for", "v5e-256")
    if values.program not in compile_jobs.PROGRAMS:
        hint = build.nearest(values.program, compile_jobs.PROGRAMS)
        raise errors.UserError(f"unknown program {values.program!r}; {hint}")
    found, config = chips.find(name), configuration.load(text, overrides)
    assumed = experiments.assumed(config)
    mesh = compile_ahead.make_mesh(config.mesh, chips.devices(found))
    num_microbatches = config.optimizer.num_microbatches
    meshes.check_batch_size(mesh, config.data.batch_size, num_microbatches)
    sizes = ", ".join(f"{axis}={size}" for axis, size in mesh.shape.items())
    heading = {
        "program": values.program,
        "topology": f"{found.name}, {found.num_chips} chips ({'x'.join(map(str, found.grid))})",
        "chip": found.chip.kind,
        "mesh": sizes,
        "batch_size": config.data.batch_size,
        "command": values.command,
        "versions": ", ".join(
            f"{name} {importlib.metadata.version(name)}" for name in ("jax", "libtpu")
        ),
    }
    return heading | _figures(
        config, found, mesh, compile_jobs.PROGRAMS[values.program](config, assumed, mesh)
    )


def _figures(config: Any, found: chips.Slice, mesh: Mesh, job: compile_jobs.Job) -> dict[str, Any]:
    passes = flops.count_passes(job.jitted, *job.arguments)
    figures = {
        "model_flops_per_step": job.model_flops,
        # With what is computed twice to save memory; and as the chip's bfloat16 unit does them.
        "flops_per_step": flops.count(job.jitted, *job.arguments),
        "bfloat16_flops_per_step": passes,
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
    moved = compile_ahead.moves(found, mesh, program, passes / found.num_chips)
    temporaries = program.temporary_bytes()
    if moved.kept_bytes:
        parts["activations"] = min(temporaries, round(moved.kept_bytes))
    parts["temporaries"] = temporaries - parts.get("activations", 0)
    parts["code"] = program.code_bytes()
    needed = float(sum(parts.values()))
    least = moved.prediction
    num = job.num_examples
    per_second = config.data.batch_size / least.step_seconds
    knobs = _knobs(config, found, mesh, job.parts, float(temporaries))
    return {
        **figures,
        "compile_seconds": program.compile_seconds,
        "memory": _memory(parts, available),
        "temporaries_hold": TEMPORARIES,
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
    config: Any,
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
    of_rest, model = [], dataclasses.asdict(config.model)
    trunk = model.get("trunk", model)
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
