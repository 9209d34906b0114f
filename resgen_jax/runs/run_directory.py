"""The run directory: its config.json, and whether a run may go on with another config."""

import io
import json
import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from PIL import Image

from resgen_jax import recipes
from resgen_jax.core import errors
from resgen_jax.io import disks, json_files, paths
from resgen_jax.recipes import configs, interface

FILE = "config.json"
EXPORT = "export"  # its section in the config.json of an export
WAY_OUT = "restore it, or train into another --workdir"
# What may differ when a run goes on: how long, how often, on what machine. Not what is learnt.
MAY_CHANGE = (
    "data.num_threads",
    "data.max_unreadable",
    "loss.weights",
    "optimizer.rewarm_at",
    "adversarial.optimizer.rewarm_at",
    "source",
)
MAY_CHANGE_SECTIONS = ("train.", "mesh.", "sampler.", "evaluation.")
# What may never differ, and what runs of earlier versions, which lack it, have in its place.
NEVER = {"train.init_from": ""}
# Where the data lie, which may differ if they are the same.
PLACES = ("data.path", "data.held_out_path", "data.class_names", "data.codes")


def to_json(config: Any) -> dict[str, Any]:
    """The config as JSON gives it back: dictionaries, lists and plain values."""
    return json.loads(json.dumps(configs.thaw(config)))


def flatten(fields: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested fields by their dotted names."""
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        if isinstance(value, Mapping):
            flat |= flatten(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def read_fields(workdir: str | os.PathLike) -> dict[str, Any]:
    """What the config.json of a run directory or an export says, nested as it stands there."""
    path = paths.of(workdir) / FILE
    try:
        return json_files.read(path, WAY_OUT)
    except (FileNotFoundError, NotADirectoryError):
        raise errors.UserError(
            f"{str(workdir)!r} is not a run directory (no {FILE} in it); name one that "
            f"`resgen train --workdir=DIR` made"
        ) from None


def read(workdir: str | os.PathLike, task: str | None = None) -> Any:
    """The config of the run directory `workdir`, which has to be of the task `task` if given.

    Raises UserError where it is no config of a task that is known.
    """
    fields = read_fields(workdir)
    fields.pop(EXPORT, None)
    found = fields.get("task")
    if task is not None and found != task:
        raise errors.UserError(
            f"{workdir} is a run of the task {found!r}, but this needs one of {task!r}"
        )
    try:
        return configs.freeze(fields)
    except errors.UserError as failure:
        raise errors.UserError(f"{paths.of(workdir) / FILE}: {failure}; {WAY_OUT}") from failure


def is_there(workdir: str | os.PathLike) -> bool:
    """Whether that is a run directory, or an export, which has a config.json, too."""
    return paths.is_file(paths.of(workdir) / FILE)


def role_of(config: Any) -> interface.Role:
    """What a run of this config is of: a tokenizer or a generator."""
    return recipes.find(config.task).role


def read_role(workdir: str | os.PathLike, noun: str) -> Any:
    """The config of a run of a tokenizer or a generator; UserError for a run of the other one."""
    config = read(workdir)
    role = role_of(config)
    if role.noun != noun:
        raise errors.UserError(
            f"{workdir} is a run of the task {config.task!r}, a {role.noun}; this needs a {noun}"
        )
    return config


def start_or_continue(
    workdir: str | os.PathLike,
    config: Any,
    *,
    is_same_data: bool = False,
    more: str = "",
) -> None:
    """Writes config.json, unless another config's run is there: then raises UserError.

    The sections train, mesh, sampler and evaluation may differ, how the data are read, and where
    they lie if they are the same; the rest may not. `more` ends the message about places.
    """
    workdir = paths.of(workdir)
    if (workdir / FILE).exists():
        there, here = read_fields(workdir), to_json(config)
        refuse_other(workdir, there, here, is_same_data=is_same_data, more=more)
    write_json(workdir / FILE, to_json(config))


def refuse_other(
    workdir: str | os.PathLike,
    there: Mapping[str, Any],
    here: Mapping[str, Any],
    *,
    is_same_data: bool = False,
    more: str = "",
) -> None:
    """Raises UserError, naming the fields, where the run in `workdir` is of another config."""
    found = differences(there, here, is_same_data=is_same_data)
    if found:
        rest = f"; and {len(found) - 5} more" if len(found) > 5 else ""
        is_of_places = all(text.startswith(PLACES) for text in found)
        raise errors.UserError(
            f"{workdir} is the run directory of another config: {'; '.join(found[:5])}{rest}. "
            f"Use the same config, or begin a new run from this one's parameters: "
            f"{init_from(workdir)}{more if is_of_places else ''}"
        )


def init_from(workdir: str | os.PathLike) -> str:
    """The flags that begin a run from the parameters of another one."""
    return f"another --workdir with --config.train.init_from={os.fspath(workdir)}"


def differences(
    there: Mapping[str, Any], here: Mapping[str, Any], *, is_same_data: bool = False
) -> list[str]:
    """`field is VALUE there and VALUE here` for each field that has to agree and does not."""
    there, here = NEVER | flatten(there), NEVER | flatten(here)
    return [
        f"{name} is {there.get(name)!r} there and {here.get(name)!r} here"
        for name in sorted(there.keys() | here.keys())
        if there.get(name) != here.get(name) and not may_change(name, is_same_data=is_same_data)
    ]


def may_change(name: str, *, is_same_data: bool = True) -> bool:
    """Whether a field, written section.name, may differ when a run goes on on the same data."""
    if name in NEVER:
        return False
    is_free = name in MAY_CHANGE or name.startswith(MAY_CHANGE_SECTIONS)
    return is_free or (is_same_data and name in PLACES)


def write_json(path: paths.Path, fields: Mapping[str, Any]) -> None:
    """A JSON file, whole or not at all."""
    write(path, (json.dumps(fields, indent=2) + "\n").encode())


def save_picture(path: paths.Path, picture: Image.Image) -> None:
    """A PNG file, whole or not at all."""
    content = io.BytesIO()
    picture.save(content, format="png")
    write(path, content.getvalue())


def save_arrays(path: paths.Path, **arrays: Any) -> None:
    """An NPZ file, whole or not at all."""
    content = io.BytesIO()
    np.savez_compressed(content, **arrays)
    write(path, content.getvalue())


def write(path: paths.Path, content: bytes) -> None:
    """A file, whole or not at all, by the first process; UserError if the disk refuses."""
    if jax.process_index() != 0:
        return
    with disks.explained(path):
        paths.write(path, content)


def check_writable(folder: paths.Path, *names: str) -> None:
    """Raises UserError, before the work, where the first process could not write these files."""
    if jax.process_index() == 0:
        for name in names:
            disks.check_writable(folder / name)
