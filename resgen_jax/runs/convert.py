"""Runs of ours as exports in safetensors, and published weights of others in the same form."""

import os
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from resgen_jax import recipes
from resgen_jax.convert import exports, formats, own_tokenizer
from resgen_jax.core import errors
from resgen_jax.io import files, json_files, paths
from resgen_jax.recipes import on_codes
from resgen_jax.runs import open_run, progress, run_directory


def tokenizer_of(export: exports.Export, workdir: str) -> tuple[exports.Export, Any] | None:
    """The tokenizer that made a generator's codes, if it is found: it goes into the export."""
    if export.codes is None:
        return None
    beside = paths.of(workdir) / own_tokenizer.FOLDER  # of an export
    try:
        return of_run(str(beside) if exports.is_export(beside) else export.codes["tokenizer"])
    except (errors.UserError, KeyError) as failure:
        progress.say(f"left out its tokenizer, so pass one to sample_images: {failure}")
        return None


def of_run(workdir: str) -> tuple[exports.Export, dict[str, Any]]:
    """The newest good checkpoint of a run: averaged parameters and codebook statistics."""
    noun = recipes.find(run_directory.read(workdir).task).role.noun
    export, notes = OPENERS[noun](workdir)
    if exports.is_export(workdir):  # whatever it was made of keeps its licence
        described = exports.describe(workdir)
        notes |= {name: described[name] for name in exports.ORIGIN if name in described}
    return export, notes


def of_file(
    name: str, path: str | os.PathLike, options: Mapping[str, Any]
) -> tuple[exports.Export, dict[str, Any]]:
    """A published file of the format `name`, and what config.json says of its origin."""
    chosen = formats.FORMATS[name]
    export = chosen.convert(path, **options)
    notes = {
        "format": name,
        "file": pathlib.Path(path).name,
        "file_sha256": files.sha256(path),
        "published": chosen.published,
        "licence": chosen.licence,
    }
    return export, notes


def _of_tokenizer(workdir: str) -> tuple[exports.Export, dict[str, Any]]:
    tokenizer = open_run.open_tokenizer(workdir, progress.say)
    config = tokenizer.config
    tree = _fetch({"params": tokenizer.params, "statistics": tokenizer.statistics})
    fields = run_directory.to_json(config)
    export = recipes.find(config.task).export(config, None, tree, fields, None)
    return export, {"step": tokenizer.step}


def _of_generator(workdir: str) -> tuple[exports.Export, dict[str, Any]]:
    generator = open_run.open_generator(workdir, progress.say)
    config = generator.config
    tree = _fetch({"params": generator.params, "statistics": {"codebooks": generator.codebooks}})
    path = paths.of(workdir) / on_codes.RECORD_FILE
    export = recipes.find(config.task).export(
        config,
        on_codes.of_meta(generator.meta),
        tree,
        run_directory.to_json(config),
        json_files.read(path, "start its training again"),
    )
    return export, {"step": generator.step, "class_names": list(generator.meta.class_names)}


OPENERS = {"tokenizer": _of_tokenizer, "generator": _of_generator}  # by role


def _fetch(tree: Any) -> Any:
    return jax.tree.map(open_run.fetch, tree)
