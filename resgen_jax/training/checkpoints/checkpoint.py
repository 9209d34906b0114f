"""Checkpoints: saved behind the training's back, checked on the way in, kept by rule."""

import concurrent.futures
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
from resgen_jax.runtime import processes
from resgen_jax.training.checkpoints import bucket_copy, manifest, orbax_errors
from resgen_jax.training.state import PyTree, TrainState

Warn = Callable[[str], None]
# From the signatures of the arrays that were saved to those that are wanted, abstract, by path.
Choose = Callable[[Mapping[str, Sequence[Any]]], Mapping[str, Any]]
FIELDS = tuple(field.name for field in dataclasses.fields(TrainState))
FOLDER = "checkpoints"
DAMAGED = "damaged-"
COMMITTED = "commit_success.txt"  # what orbax puts last into a checkpoint in gs://


class NoneGood(errors.UserError):
    """There are checkpoints, and all are damaged."""


class Checkpoints:
    """The checkpoints of one run, written in the background; close it, or use it in a `with`.

    The newest `keep_last` stay, and every one whose step is a multiple of `keep_every` (0: none).
    `facts` (the seed, say) are stored, and have to be the same when the run goes on.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        *,
        keep_last: int = 2,
        keep_every: int = 0,
        facts: Mapping[str, Any] | None = None,
    ):
        self.directory = place_of(workdir)
        self._facts = dict(facts or {})
        self.is_measured = True
        self._mirror, self._uploads, self._upload = None, None, None
        saving = self.directory
        if bucket_copy.is_needed(self.directory):
            self._mirror = bucket_copy.Mirror(self.directory, _keeper(keep_last, keep_every))
            self._uploads = concurrent.futures.ThreadPoolExecutor(1, "resgen-upload")
            saving, keep_last, keep_every = self._mirror.saving, 1, 0
        kept = ocp.training.preservation_policies
        rules = [kept.LatestN(keep_last), *([kept.EveryNSteps(keep_every)] * bool(keep_every))]
        orbax_errors.silence_orbax()
        with orbax_errors.explained(self.directory):
            paths.make_folder(saving)
            self._manager = ocp.training.Checkpointer(
                saving,
                context=orbax_errors.context(),
                save_decision_policy=ocp.training.save_decision_policies.FixedIntervalPolicy(1),
                preservation_policy=kept.AnyPreservationPolicy(rules),
                # What a killed run left half written.
                cleanup_tmp_directories=True,
            )

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if error is None:
            self.close()
        else:  # what went wrong first is what the user has to read
            with contextlib.suppress(Exception):
                self.close()

    @property
    def newest(self) -> str:
        """The path of the newest complete checkpoint, for messages."""
        self.wait()
        saved = self._steps()
        return str(self.directory / str(saved[-1])) if saved else "none yet"

    @property
    def latest(self) -> int:
        """The step of the newest complete checkpoint; 0 if there is none."""
        return max(self._steps(), default=0)

    def set_all_aside(self) -> None:
        """None of them is good."""
        self._set_aside(self._steps())

    def _steps(self) -> list[int]:
        if self._mirror:
            return bucket_copy.steps(self.directory)
        return [saved.step for saved in self._manager.checkpoints]

    def save(
        self, step: int, state: TrainState, iterator: Any = None, is_measured: bool = True
    ) -> None:
        """Save in the background; returns once the arrays have left the devices.

        `is_measured` False: there was no time to measure this state, which the run then still owes.
        Raises UserError if this one or the one before could not be written; older ones stay.
        """
        arrays = manifest.flatten({name: getattr(state, name) for name in FIELDS})
        where = None if iterator is None else iterator.get_state()
        sealed = manifest.make(arrays, self._facts, where, is_measured)
        self._wait_for_upload()  # of the one before, which would make room for this one
        with orbax_errors.explained(self.directory):
            self._manager.save_checkpointables_async(
                step, {"state": arrays, "record": sealed}, force=True
            )
        if self._mirror:
            self._upload = self._uploads.submit(self._publish, step)

    def _publish(self, step: int) -> None:
        self._manager.wait()
        self._mirror.publish(step)

    def _wait_for_upload(self) -> None:
        upload, self._upload = self._upload, None
        if upload is not None:
            with orbax_errors.explained(self.directory):
                upload.result()

    def wait(self) -> None:
        """Wait for the save under way; raises UserError if it could not be written."""
        self._wait_for_upload()
        with orbax_errors.explained(self.directory):
            self._manager.wait()

    def close(self) -> None:
        """Wait for the save under way and let go of the files."""
        try:
            self._wait_for_upload()
        finally:
            with orbax_errors.explained(self.directory):
                self._manager.close()
            if self._mirror:
                self._uploads.shutdown()
                self._mirror.close()

    def restore(
        self, abstract: TrainState, iterator: Any = None, warn: Warn = lambda text: None
    ) -> TrainState | None:
        """The newest state that is undamaged, placed as `abstract` says; None if none was saved.

        Sets `iterator` to where the data stood, and `is_measured` to what was saved. Damaged
        checkpoints are reported to `warn` and set aside. Raises UserError if none is good, or if
        another configuration saved it.
        """
        self.wait()
        steps = self._steps()
        if not steps:
            return None
        expected = {name: getattr(abstract, name) for name in FIELDS}
        step, (content, fields) = _newest_good(self.directory, steps, _loader(expected), warn)
        where = str(self.directory / str(step))
        manifest.check_facts(content, self._facts, where)
        self.is_measured = content["is_measured"]
        if iterator is not None:
            iterator.set_state(manifest.iterator_state(content, where))
        self._set_aside([later for later in steps if later > step])
        return TrainState(**fields)

    def _set_aside(self, damaged: Sequence[int]) -> None:
        """Rename damaged checkpoints, so that they neither count as newest nor block their step."""
        if not damaged:
            return
        if self._mirror:
            for step in damaged:
                self._mirror.forget(step)
            return
        if jax.process_index() == 0:
            for step in damaged:
                target = self.directory / f"{DAMAGED}{step}"
                target.rmtree(missing_ok=True)
                (self.directory / str(step)).rename(target)
        processes.meet("damaged checkpoints set aside")
        self._manager.reload()


def restore_fields(
    workdir: str | os.PathLike,
    fields: Mapping[str, PyTree],
    *,
    warn: Warn = lambda text: None,
) -> tuple[int, dict[str, PyTree]]:
    """The step and some fields of the newest undamaged state of a run, which stays untouched.

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

    step, arrays = restore_some(workdir, choose, warn=warn)
    return step, manifest.unflatten(arrays, fields)


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

    return _newest_good(directory, saved if step is None else [step], load, warn)


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


def _keeper(keep_last: int, keep_every: int) -> Callable[[Sequence[int]], set[int]]:
    """The rule that orbax has for disks, for the steps in a bucket."""

    def keeps(there: Sequence[int]) -> set[int]:
        for_good = {step for step in there if keep_every and step % keep_every == 0}
        return for_good | set(sorted(there)[-keep_last:])

    return keeps


def _newest_good(
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


def _loader(expected: Mapping[str, PyTree]) -> Callable[[epath.Path, epath.Path], Any]:
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
