"""Trained models out of their run directories, ready to encode, decode and sample."""

import os
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from resgen_jax.cli import experiments, run_directory, sections, synthetic
from resgen_jax.convert import exports
from resgen_jax.core import build, errors
from resgen_jax.data import codes, json_files, paths
from resgen_jax.training import checkpoint, resgen_task, rq_vae_task
from resgen_jax.training import mesh as meshes

Note = experiments.Note


class TokenizerRun(NamedTuple):
    """A trained tokenizer: averaged parameters and codebook statistics at `step`."""

    config: ml_collections.ConfigDict
    task: rq_vae_task.RqVaeTask
    mesh: Mesh
    step: int
    params: Any
    statistics: Any


class GeneratorRun(NamedTuple):
    """A trained generator, with what its codes are of."""

    config: ml_collections.ConfigDict
    task: resgen_task.ResGenTask
    mesh: Mesh
    step: int
    params: Any
    codebooks: Any
    meta: codes.Meta


def open_tokenizer(
    workdir: str | os.PathLike, note: Note, mesh: Mesh | None = None
) -> TokenizerRun:
    """The tokenizer of a run or export, on all devices of this machine or on a mesh of theirs."""
    config = _config(workdir, "rq_vae")
    task, mesh = experiments.tokenizer_task(config), mesh or meshes.make(meshes.Spec())
    step, params, statistics = _restore(workdir, meshes.abstract_state(mesh, task), note)
    return TokenizerRun(config, task, mesh, step, params, statistics)


def open_generator(workdir: str | os.PathLike, note: Note) -> GeneratorRun:
    """The generator of a run or export, on all devices of this machine."""
    config = _config(workdir, "resgen")
    path = paths.of(workdir) / experiments.CODES_FILE
    if not path.is_file():
        raise errors.UserError(
            f"{workdir} lacks {experiments.CODES_FILE}; start its training again to write it"
        )
    fields = json_files.read(path, "start its training again to write it")
    fields.pop("sha256", None)
    meta = build.build(codes.Meta, fields, str(path))
    task, mesh = experiments.generator_task(config, meta), meshes.make(meshes.Spec())
    step, params, statistics = _restore(workdir, meshes.abstract_state(mesh, task), note)
    return GeneratorRun(config, task, mesh, step, params, statistics["codebooks"], meta)


def _config(workdir: str | os.PathLike, task: str) -> ml_collections.ConfigDict:
    """The config of a run, or of what `resgen convert` made of one, or of published weights.

    Raises UserError for a run that saw noise alone.
    """
    config = run_directory.read(workdir, task)
    synthetic.refuse(config, workdir)
    if exports.SECTION in config:
        with config.unlocked():
            del config[exports.SECTION]
        sections.complete(config)
    return config


def _restore(workdir: str | os.PathLike, abstract: Any, note: Note) -> tuple[int, Any, Any]:
    """Step, averaged parameters and statistics, from checkpoints or an exported file."""
    if exports.is_export(workdir):
        wanted = exports.essence(abstract.average_params, abstract.statistics)
        found = exports.read(workdir, wanted)
        step = exports.describe(workdir).get("step", 0)
        return step, found["params"], found["statistics"]
    step, found = checkpoint.restore_params(workdir, abstract, warn=note)
    return step, found["average_params"], found["statistics"]


def open_tokenizer_of(
    meta: codes.Meta, moved_to: str | None, note: Note, mesh: Mesh | None = None
) -> TokenizerRun:
    """The tokenizer that made some codes, where it was or where it has `moved_to`."""
    workdir = moved_to or meta.tokenizer
    if not (paths.of(workdir) / run_directory.FILE).is_file():
        raise errors.UserError(
            f"the codes were made by the tokenizer in {workdir!r}, which is not a run directory; "
            f"say where it is with --tokenizer=DIR"
        )
    tokenizer = open_tokenizer(workdir, note, mesh)
    door = tokenizer.task.tokenizer
    for field in ("grid", "depth", "codebook_size", "code_dim"):
        if getattr(door, field) != getattr(meta, field):
            raise errors.UserError(
                f"the tokenizer in {workdir} has {field} {getattr(door, field)}, the codes have "
                f"{getattr(meta, field)}; name the one that made them with --tokenizer=DIR"
            )
    return tokenizer


def batch_for(mesh: Mesh, batch_size: int, num_rows: int) -> int:
    """The largest batch of at most `batch_size`, no larger than needed, that the mesh divides."""
    shards = mesh.shape["data"] * mesh.shape["fsdp"]
    wanted = max(1, min(batch_size, num_rows))
    return max(shards, wanted // shards * shards)


def put_rows(mesh: Mesh, rows: dict[str, np.ndarray]) -> dict[str, jax.Array]:
    """Global arrays of a batch that every process has made as a whole."""
    here = meshes.rows_here(mesh, len(next(iter(rows.values()))))
    return meshes.put_batch(mesh, {name: row[here] for name, row in rows.items()})


def fetch(array: jax.Array) -> np.ndarray:
    """The whole array in this process's memory, whichever processes hold it."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))
