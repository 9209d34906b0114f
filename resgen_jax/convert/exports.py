"""Exported models: a directory with model.safetensors and config.json, complete or refused."""

import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np

import resgen_jax
from resgen_jax.convert import rules, safetensors_files
from resgen_jax.core import errors, spaces, trees
from resgen_jax.generators import rq_transformer
from resgen_jax.io import disks, files, json_files, paths
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.quantizers import multi_scale
from resgen_jax.tokenizers import rq_vae

PyTree = Any

CONFIG, WEIGHTS, CODES = "config.json", "model.safetensors", "codes.json"
CODEBOOKS = "statistics/codebooks"  # of a generator, by path
ORIGIN = ("format", "file", "file_sha256", "published", "licence")  # of published weights
SECTION = "export"  # of config.json; the rest of it is the run's config, for the verbs


class Export(NamedTuple):
    """A model to be written: what its networks are made from, and its arrays by their paths."""

    kind: str
    fields: dict[str, Any]
    tree: PyTree
    config: dict[str, Any]
    codes: dict[str, Any] | None = None  # of a generator: what its codes are of
    remarks: tuple[str, ...] = ()  # what its maker ought to know of the conversion


def of_rq_vae(
    model: rq_vae.Spec,
    quantizer: quantizers.Spec,
    learner: str,
    params: PyTree,
    statistics: PyTree,
    config: Mapping[str, Any] | None = None,
) -> Export:
    """An RQ-VAE with the statistics of its codebooks; without a run's `config` one is made up."""
    fields = {
        "model": dataclasses.asdict(model),
        "quantizer": dataclasses.asdict(quantizer),
        "learner": learner,
    }
    tree = {"params": params, "statistics": {"quantizer": statistics}}
    return Export("rq_vae", fields, tree, dict(config or _config_of(model, quantizer, learner)))


def of_multi_scale_vae(
    model: rq_vae.Spec, scales: multi_scale.Spec, codebook_size: int, params: PyTree
) -> Export:
    """The tokenizer of VAR."""
    fields = {
        "model": dataclasses.asdict(model),
        "scales": dataclasses.asdict(scales),
        "codebook_size": codebook_size,
    }
    return Export("multi_scale_vae", fields, {"params": params}, {"task": "multi_scale_vae"})


def of_rq_transformer(spec: rq_transformer.Spec, space: spaces.Space, params: PyTree) -> Export:
    """An RQ-Transformer, which reads codes by the codebooks of its tokenizer."""
    fields = {"model": dataclasses.asdict(spec), "space": spaces.fields_of(space)}
    return Export("rq_transformer", fields, {"params": params}, {"task": "rq_transformer"})


def of_generator(
    kind: str,
    model: Any,
    space: spaces.Space,
    sampler: Any,
    tree: PyTree,
    config: Mapping[str, Any],
    codes: Mapping[str, Any],
) -> Export:
    """A generator of a kind of `pretrained.KINDS`, with the codebooks that its codes point into."""
    fields = {
        "model": dataclasses.asdict(model),
        "space": spaces.fields_of(space),
        "sampler": dataclasses.asdict(sampler),
    }
    return Export(kind, fields, tree, dict(config), dict(codes))


def write(output: str | os.PathLike, export: Export, notes: Mapping[str, Any]) -> pathlib.Path:
    """Writes the directory `output`; `notes` go into its config.json.

    Replaces the files of an earlier export, which a checksum holds together, and raises UserError
    rather than write into any other directory, or numbers that are NaN or infinite.
    """
    arrays = {name: np.asarray(leaf) for name, leaf in trees.named_leaves(export.tree).items()}
    for name, array in arrays.items():
        if broken := rules.not_finite(array):
            raise errors.UserError(
                f"{name} is not finite ({broken}), and nothing made with it would be right; export "
                "a run or convert a file from before its training went wrong"
            )
    output = _place(output)
    unfinished = _unfinished(output)
    with disks.explained(output, "make room or name another --output"):
        if unfinished.exists():
            shutil.rmtree(unfinished)
        unfinished.mkdir(parents=True)
        safetensors_files.write(unfinished / WEIGHTS, arrays, {"format": "resgen_jax"})
        section = {
            "kind": export.kind,
            "version": resgen_jax.__version__,
            **notes,
            "sha256": files.sha256(unfinished / WEIGHTS),
            **export.fields,
        }
        _write_json(unfinished / CONFIG, {**export.config, SECTION: section})
        if export.codes is not None:
            _write_json(unfinished / CODES, export.codes)
        if output.exists():  # with what else was put there since, which stays
            for path in unfinished.iterdir():
                path.replace(output / path.name)
            unfinished.rmdir()
        else:
            unfinished.rename(output)
    return output


def check_output(output: str | os.PathLike) -> None:
    """Raises UserError where `write` would."""
    output = _place(output)
    for folder in (_unfinished(output), output):
        disks.check_writable(folder / CONFIG)


def _place(output: str | os.PathLike) -> pathlib.Path:
    output = pathlib.Path(os.path.abspath(output))  # "." has no name to put files beside
    if output.exists() and not _is_ours(output) and any(_inside(output)):
        raise errors.UserError(f"{output} exists and is no export; name another --output")
    return output


def _unfinished(output: pathlib.Path) -> pathlib.Path:
    return output.with_name(f".{output.name}.unfinished")


def is_export(path: str | os.PathLike) -> bool:
    """Whether the directory holds an exported model."""
    path = paths.of(path)
    return paths.is_file(path / WEIGHTS) and paths.is_file(path / CONFIG)


def _is_ours(path: pathlib.Path) -> bool:
    """Whether it is an export; the models of other libraries lie in files of the same names."""
    try:
        return bool(describe(path))
    except errors.UserError:
        return False


def describe(path: str | os.PathLike) -> dict[str, Any]:
    """What the directory says of its model; UserError where it is no export."""
    path = paths.of(path)
    if not is_export(path):
        raise errors.UserError(
            f"{str(path)!r} is no exported model: it lacks {CONFIG} or {WEIGHTS}; make one by "
            "`resgen convert`"
        )
    try:
        fields = json_files.read(path / CONFIG, "convert it again")
        described = fields[SECTION] | {"kind": str(fields[SECTION]["kind"])}
        if not isinstance(described.get("step", 0), int):
            raise TypeError(f"its step is {described['step']!r}"[:80])
        return described
    except errors.UserError:
        raise
    except (OSError, KeyError, TypeError) as failure:
        raise errors.UserError(
            f"{path / CONFIG} describes no model of this library ({errors.reason(failure)}); "
            "convert it again"
        ) from failure


def shapes(path: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """The shapes of an export's arrays by path, of which no number is read."""
    with paths.reading(paths.of(path) / WEIGHTS) as file:
        return safetensors_files.shapes(file)


def check_sizes(
    path: str | os.PathLike,
    saved: Mapping[str, tuple[int, ...]],
    num_blocks: int = 0,
    codebooks: tuple[int, ...] | None = None,
) -> None:
    """Raises UserError where a config tells of far more than the arrays that were saved.

    Asked before a network is traced or a table made, whose time and memory grow with what a config
    claims; that all arrays fit is asked afterwards. `saved` is empty where nothing is known.
    """
    if not saved:
        return
    if num_blocks > len(saved):
        raise errors.UserError(
            f"{path}: {CONFIG} tells of a network of {num_blocks} blocks, but {len(saved)} arrays "
            f"were saved; restore the {CONFIG} that was written with them"
        )
    found = saved.get(CODEBOOKS)
    if codebooks is not None and found is not None and tuple(found) != codebooks:
        raise errors.UserError(
            f"{path}: codebooks of shape {tuple(found)} were saved, but {CODES} or {CONFIG} tells "
            f"of {codebooks} (depth, codebook_size, code_dim); restore the file that was written "
            "with them"
        )


def read(path: str | os.PathLike, abstract: PyTree) -> PyTree:
    """The arrays of an export in the tree of `abstract`, whose leaves have shapes and dtypes.

    Where those have shardings, the arrays lie on their devices so; else they are NumPy's. Raises
    UserError for a file that changed since it was written, and for arrays that are missing, left
    over or of another shape.
    """
    path = paths.of(path)
    names = trees.named_leaves(abstract)
    table = [rules.copy(name, name) for name in names]
    with paths.reading(path / WEIGHTS) as file:
        if describe(path).get("sha256") not in (None, files.sha256(file)):
            raise errors.UserError(
                f"{path / WEIGHTS} is not the file that {CONFIG} beside it was written with; copy "
                "both again"
            )
        arrays = safetensors_files.read(file)
    found = trees.named_leaves(rules.apply(table, arrays, rules.nest(names), where=str(path)))
    leaves = [_placed(found[name], leaf) for name, leaf in names.items()]
    return jax.tree.unflatten(jax.tree.structure(abstract), leaves)


def _placed(array: np.ndarray, leaf: Any) -> Any:
    sharding = getattr(leaf, "sharding", None)
    if sharding is None:
        return array
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def _config_of(model: rq_vae.Spec, quantizer: quantizers.Spec, learner: str) -> dict[str, Any]:
    """A run's config that opens this tokenizer, for images that are named on the command line."""
    own = dataclasses.asdict(model)
    return {
        "task": "rq_vae",
        "seed": 0,
        "data": {
            "source": "folder",
            "image_size": own.pop("image_size"),
            "channels": own.pop("channels"),
            "batch_size": 64,
        },
        "model": own,
        "quantizer": {
            name: value
            for name, value in dataclasses.asdict(quantizer).items()
            if name != "code_dim"
        }
        | {"learner": learner},
        "loss": {},
        "optimizer": {},
        "mesh": {},
        "train": {"num_steps": 1},
    }


def _inside(path: pathlib.Path) -> list[pathlib.Path]:
    return list(path.iterdir()) if path.is_dir() else [path]


def _write_json(path: pathlib.Path, fields: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(fields, indent=2) + "\n")
