"""Checkpoints that were saved: which there are, and the newest good one, checked on the way in."""

import contextlib
import dataclasses
import gc
import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from resgen_jax.core import errors
from resgen_jax.io import paths
from resgen_jax.training.checkpoints import bucket_copy, manifest, orbax_errors
from resgen_jax.training.state import PyTree, TrainState

Warn = Callable[[str], None]
# From the signatures of the arrays that were saved to those that are wanted, abstract, by path.
Choose = Callable[[Mapping[str, Sequence[Any]]], Mapping[str, Any]]
FIELDS = tuple(field.name for field in dataclasses.fields(TrainState))
FOLDER = "checkpoints"
COMMITTED = "commit_success.txt"  # what orbax puts last into a checkpoint in gs://


class NoneGood(errors.UserError):
    """There are checkpoints, and all are damaged."""


def restore_fields(
    workdir: str | os.PathLike,
    fields: Mapping[str, PyTree],
    *,
    step: int | None = None,
    warn: Warn = lambda text: None,
) -> tuple[int, dict[str, PyTree]]:
    """The step and some fields of a run's newest undamaged state, or of that at `step`.

    `fields` has the trees that are wanted of each, or parts of them, abstract; each array is placed
    as its leaf says, on any mesh. Raises UserError if the run has no checkpoint, none that is good,
    or one of another configuration.
    """
    if not steps(workdir):
        raise errors.UserError(
            f"{place_of(workdir)} holds no checkpoint: train first, or change --workdir"
        )
    wanted = manifest.flatten(fields)

    def choose(saved: Mapping[str, Sequence[Any]]) -> manifest.Arrays:
        found = {path: entry for path, entry in saved.items() if path in wanted}
        manifest.check_same(found, wanted, os.fspath(workdir))
        return wanted

    found, arrays = restore_some(workdir, choose, step=step, warn=warn)
    return found, manifest.unflatten(arrays, fields)


def restore_some(
    workdir: str | os.PathLike,
    choose: Choose,
    *,
    step: int | None = None,
    warn: Warn = lambda text: None,
) -> tuple[int, manifest.Arrays]:
    """The step and some arrays of a run's newest undamaged state, or of that at `step`, by path.

    `choose` is asked which, and may refuse. Raises UserError where there is no such checkpoint.
    """
    directory, saved = place_of(workdir), steps(workdir)
    if not saved or step not in (None, *saved):
        there = f"those of steps {', '.join(map(str, saved))}" if saved else "none"
        wanted = "a checkpoint" if step is None else f"a checkpoint of step {step}"
        raise errors.UserError(f"{directory} was to hold {wanted}, but it holds {there}")
    orbax_errors.silence_orbax()

    def load(path: epath.Path, where: epath.Path) -> manifest.Arrays:
        content = _content(path, where)
        return _arrays(path, content, choose(content["arrays"]))

    return newest_good(directory, saved if step is None else [step], load, warn)


def shapes(workdir: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays in a run's newest checkpoint, as its record has them.

    Nothing where there is none on this machine, or a damaged one, of which `restore_fields` tells.
    """
    directory, saved = place_of(workdir), steps(workdir)
    if not saved or bucket_copy.is_needed(directory):
        return {}
    orbax_errors.silence_orbax()
    newest = directory / str(saved[-1])
    with orbax_errors.quiet_failure(), contextlib.suppress(Exception):
        return {name: tuple(entry[0]) for name, entry in _content(newest, newest)["arrays"].items()}
    return {}


def place_of(workdir: str | os.PathLike) -> epath.Path:
    """Where the checkpoints of a run lie."""
    return epath.Path(paths.absolute(workdir)) / FOLDER


def steps(workdir: str | os.PathLike) -> list[int]:
    """The steps of a run that have a checkpoint, oldest first."""
    directory = place_of(workdir)
    if bucket_copy.is_needed(directory):
        return bucket_copy.steps(directory)
    if paths.is_remote(directory):
        return bucket_copy.steps(directory, COMMITTED)
    return sorted(int(name) for name in paths.names_in(directory) if name.isdigit())


def newest_good(
    directory: epath.Path,
    steps: Sequence[int],
    load: Callable[[epath.Path, epath.Path], Any],
    warn: Warn,
) -> tuple[int, Any]:
    """The newest step that can be loaded, from a path on this machine, and what was loaded."""
    for step in sorted(steps, reverse=True):
        with orbax_errors.quiet_failure():
            try:
                loaded, reason = _fetch_and_load(directory / str(step), load), None
            except (errors.UserError, bucket_copy.UnreachableError):
                raise
            except Exception as error:  # the types of a damaged file's errors vary widely
                loaded, reason = None, _short(error)
            if loaded is None:
                gc.collect()
        if _agree(loaded is not None):
            return step, loaded
        warn(f"checkpoint {directory / str(step)} is damaged ({reason}); trying the one before")
    raise NoneGood(
        f"no checkpoint in {directory} can be read (tried {', '.join(map(str, steps))}): "
        "restore a copy, or delete the folder to start afresh"
    )


def _fetch_and_load(path: epath.Path, load: Callable[[epath.Path, epath.Path], Any]) -> Any:
    """From where it lies, or from a copy on this machine where orbax cannot read there."""
    if not bucket_copy.is_needed(path):
        return load(path, path)
    with tempfile.TemporaryDirectory(prefix="resgen-") as folder:
        bucket_copy.fetch(path, pathlib.Path(folder) / path.name)
        return load(epath.Path(folder) / path.name, path)


def loader(expected: Mapping[str, PyTree]) -> Callable[[epath.Path, epath.Path], Any]:
    """Loads the record of a checkpoint and these fields of its state, which have to fit."""

    def load(path: epath.Path, where: epath.Path) -> tuple[dict[str, Any], dict[str, PyTree]]:
        content = _content(path, where)
        manifest.check_structure(content, expected, str(where))
        arrays = _arrays(path, content, manifest.flatten(expected))
        return content, manifest.unflatten(arrays, expected)

    return load


def _content(path: epath.Path, where: epath.Path) -> dict[str, Any]:
    """What the record of a checkpoint says."""
    with orbax_errors.context():
        found = ocp.load_checkpointables(path, {"record": None})["record"]
    return manifest.unseal(found, str(where))


def _arrays(
    path: epath.Path, content: Mapping[str, Any], wanted: Mapping[str, Any]
) -> manifest.Arrays:
    """Those of a checkpoint's arrays, checked, each placed as its abstract one says."""
    skipped = {name: ... for name in content["arrays"] if name not in wanted}
    with orbax_errors.context():
        loaded = ocp.load_checkpointables(path, {"state": {**skipped, **wanted}})["state"]
    arrays = {name: loaded[name] for name in wanted}
    manifest.check_arrays(content, arrays)
    return arrays


def _agree(is_good: bool) -> bool:
    """Whether every process could read it."""
    if jax.process_count() == 1:
        return is_good
    return bool(multihost_utils.process_allgather(is_good).all())


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__
