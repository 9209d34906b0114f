"""Trained models out of their run directories, ready to encode, decode and sample."""

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh

from resgen_jax import recipes
from resgen_jax.convert import exports
from resgen_jax.core import errors, spaces
from resgen_jax.data import codes
from resgen_jax.generators import interface as generators
from resgen_jax.io import json_files, paths
from resgen_jax.quantizers import unit
from resgen_jax.recipes import interface, on_codes, on_images
from resgen_jax.runs import noise, places, run_directory
from resgen_jax.runtime import mesh as meshes
from resgen_jax.tokenizers import interface as tokenizers
from resgen_jax.training import placement
from resgen_jax.training.checkpoints import restoring

Note = Callable[[str], None]


class TokenizerRun(NamedTuple):
    """A trained tokenizer: averaged parameters and codebook statistics at `step`."""

    config: Any
    model: tokenizers.Tokenizer
    mesh: Mesh
    step: int
    params: Any
    statistics: Any


class GeneratorRun(NamedTuple):
    """A trained generator, with what its codes are of."""

    config: Any
    model: generators.Generator
    mesh: Mesh
    step: int
    params: Any
    codebooks: Any
    meta: codes.Meta
    sha256: dict[str, str] | None  # of the files of its codes


def open_tokenizer(
    workdir: str | os.PathLike, note: Note, mesh: Mesh | None = None
) -> TokenizerRun:
    """The tokenizer of a run or export, on all devices of this machine or on a mesh of theirs."""
    config = _config(workdir, on_images.ROLE, note)
    recipe = recipes.find(config.task)
    exports.check_sizes(workdir, _shapes(workdir), recipe.num_blocks(config))
    model, mesh = recipe.model(config, None), mesh or meshes.make(meshes.Spec())
    step, found = _restore(workdir, placement.abstract_model(mesh, model), note)
    return TokenizerRun(config, model, mesh, step, found["params"], found["statistics"])


def open_generator(
    workdir: str | os.PathLike, note: Note, at_step: int | None = None
) -> GeneratorRun:
    """The generator of a run or export, on all devices of this machine; of a run at any step."""
    config = _config(workdir, on_codes.ROLE, note)
    meta, sums = read_meta(workdir)
    meta = places.settle_tokenizer(meta, workdir, note)
    sizes = meta.space.codes.codebooks_shape
    exports.check_sizes(workdir, _shapes(workdir), codebooks=sizes)
    model = recipes.find(config.task).model(config, on_codes.of_meta(meta, config))
    mesh = meshes.make(meshes.Spec())
    step, found = _restore(workdir, placement.abstract_model(mesh, model), note, at_step)
    codebooks = found["statistics"]["codebooks"]
    return GeneratorRun(config, model, mesh, step, found["params"], codebooks, meta, sums)


def read_meta(workdir: str | os.PathLike) -> tuple[codes.Meta, dict[str, str] | None]:
    """What the codes of a generator's run are of, and the sha256 of their files."""
    path = paths.of(workdir) / on_codes.RECORD_FILE
    if not path.is_file():
        raise errors.UserError(
            f"{workdir} lacks {on_codes.RECORD_FILE}; start its training again to write it"
        )
    fields = json_files.read(path, "start its training again to write it")
    sums = fields.pop("sha256", None)
    return codes.meta_of(fields, str(path)), sums


def _config(workdir: str | os.PathLike, role: interface.Role, note: Note) -> Any:
    """The config of a run, or of what `resgen convert` made of one, or of published weights.

    Its data are where they lie now. Raises UserError for a run that saw noise alone.
    """
    config = run_directory.read_role(workdir, role.noun)
    noise.refuse(config, workdir)
    return places.settle(config, workdir, note)


def _shapes(workdir: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """The shapes of what was saved, by path; nothing where that is not known."""
    if exports.is_export(workdir):
        return exports.shapes(workdir)
    return restoring.shapes(workdir)


def _restore(
    workdir: str | os.PathLike, abstract: Any, note: Note, at_step: int | None = None
) -> tuple[int, Any]:
    """Step, averaged parameters and statistics, from checkpoints or an exported file."""
    if exports.is_export(workdir):
        if at_step is not None:
            raise errors.UserError(f"{workdir} is an export, of one step; leave out @{at_step}")
        return exports.describe(workdir).get("step", 0), exports.read(workdir, abstract)
    fields = {"average_params": abstract["params"], "statistics": abstract["statistics"]}
    step, found = restoring.restore_fields(workdir, fields, step=at_step, warn=note)
    return step, {"params": found["average_params"], "statistics": found["statistics"]}


def open_tokenizer_for(generator: GeneratorRun, moved_to: str | None, note: Note) -> TokenizerRun:
    """The tokenizer that made a generator's codes; `note` hears if it has become another one."""
    tokenizer = open_tokenizer_of(generator.meta, moved_to, note)
    codebooks = fetch(tokenizer.model.codebooks(tokenizer.statistics))
    scaled, own = unit.unit_codebooks(codebooks), fetch(generator.codebooks)
    if not np.allclose(scaled, own, rtol=1e-3, atol=1e-3):
        note(
            f"the tokenizer in {moved_to or generator.meta.tokenizer} (step {tokenizer.step}) has "
            f"other codebooks than this generator's codes, which were made at step "
            f"{generator.meta.tokenizer_step}: images may look wrong; name the one that made them "
            f"with --tokenizer=DIR"
        )
    return tokenizer


def codes_of(generator: GeneratorRun, moved_to: str | None) -> codes.CodesDataset:
    """The codes that a generator was trained on, where they are or where they have `moved_to`."""
    place = moved_to or generator.config.data.codes
    if not paths.is_file(paths.of(place) / codes.DESCRIPTION):
        raise errors.UserError(
            f"the generator's codes lay in {place!r}, which is no codes directory now; say where "
            f"they are with --codes=DIR"
        )
    dataset = codes.read(place)
    if generator.sha256 is not None and dataset.sha256 != generator.sha256:
        raise errors.UserError(
            f"the codes in {place} are not those that the generator was trained on; say where "
            f"those are with --codes=DIR"
        )
    return dataset


def open_tokenizer_of(
    meta: codes.Meta, moved_to: str | None, note: Note, mesh: Mesh | None = None
) -> TokenizerRun:
    """The tokenizer that made some codes, where it was or where it has `moved_to`."""
    workdir = moved_to or meta.tokenizer
    if not paths.is_file(paths.of(workdir) / run_directory.FILE):
        raise errors.UserError(
            f"the codes were made by the tokenizer in {workdir!r}, which is not a run directory; "
            f"say where it is with --tokenizer=DIR (while training: evaluation.tokenizer)"
        )
    tokenizer = open_tokenizer(workdir, note, mesh)
    model = tokenizer.model
    told = spaces.fields_of(meta.space)
    for field in ("grid", "depth", "codebook_size", "code_dim"):
        if getattr(model, field) != told.get(field):
            raise errors.UserError(
                f"the tokenizer in {workdir} has {field} {getattr(model, field)}, the codes have "
                f"{told.get(field)}; name the one that made them with --tokenizer=DIR"
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
