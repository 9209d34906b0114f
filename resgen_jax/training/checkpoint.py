"""Checkpoints: saved behind the training's back, checked on the way in, kept by rule."""

import contextlib
import dataclasses
import gc
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from etils import epath
from jax.experimental import multihost_utils
from orbax.checkpoint import v1 as ocp

from resgen_jax.core import errors
from resgen_jax.training import record, storage
from resgen_jax.training.state import PyTree, TrainState

Warn = Callable[[str], None]
FIELDS = tuple(field.name for field in dataclasses.fields(TrainState))
FOLDER = "checkpoints"
DAMAGED = "damaged-"


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
        self.directory = epath.Path(workdir).absolute() / FOLDER
        self._facts = dict(facts or {})
        kept = ocp.training.preservation_policies
        rules = [kept.LatestN(keep_last), *([kept.EveryNSteps(keep_every)] * bool(keep_every))]
        storage.silence_orbax()
        with storage.explained(self.directory):
            self.directory.mkdir(parents=True, exist_ok=True)
            self._manager = ocp.training.Checkpointer(
                self.directory,
                context=storage.context(),
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
        saved = self._manager.checkpoints
        return str(self.directory / str(saved[-1].step)) if saved else "none yet"

    def save(self, step: int, state: TrainState, iterator: Any = None) -> None:
        """Save in the background; returns once the arrays have left the devices.

        Raises UserError if this one or the one before could not be written; older ones stay.
        """
        arrays = record.flatten({name: getattr(state, name) for name in FIELDS})
        where = None if iterator is None else iterator.get_state()
        sealed = record.make(arrays, self._facts, where)
        with storage.explained(self.directory):
            self._manager.save_checkpointables_async(
                step, {"state": arrays, "record": sealed}, force=True
            )

    def wait(self) -> None:
        """Wait for the save under way; raises UserError if it could not be written."""
        with storage.explained(self.directory):
            self._manager.wait()

    def close(self) -> None:
        """Wait for the save under way and let go of the files."""
        with storage.explained(self.directory):
            self._manager.close()

    def restore(
        self, abstract: TrainState, iterator: Any = None, warn: Warn = lambda text: None
    ) -> TrainState | None:
        """The newest state that is undamaged, placed as `abstract` says; None if none was saved.

        Sets `iterator` to where the data stood. Damaged checkpoints are reported to `warn` and set
        aside. Raises UserError if none is good, or if another configuration saved it.
        """
        steps = [saved.step for saved in self._manager.checkpoints]
        if not steps:
            return None
        expected = {name: getattr(abstract, name) for name in FIELDS}
        step, content, fields = _newest_good(self.directory, steps, expected, warn)
        where = str(self.directory / str(step))
        record.check_facts(content, self._facts, where)
        if iterator is not None:
            iterator.set_state(record.iterator_state(content, where))
        self._set_aside([later for later in steps if later > step])
        return TrainState(**fields)

    def _set_aside(self, damaged: Sequence[int]) -> None:
        """Rename damaged checkpoints, so that they neither count as newest nor block their step."""
        if not damaged:
            return
        if jax.process_index() == 0:
            for step in damaged:
                target = self.directory / f"{DAMAGED}{step}"
                target.rmtree(missing_ok=True)
                (self.directory / str(step)).rename(target)
        if jax.process_count() > 1:
            multihost_utils.sync_global_devices("damaged checkpoints set aside")
        self._manager.reload()


def restore_params(
    workdir: str | os.PathLike,
    abstract: TrainState,
    *,
    names: Sequence[str] = ("average_params", "statistics"),
    warn: Warn = lambda text: None,
) -> tuple[int, dict[str, PyTree]]:
    """The step and some fields of the newest undamaged state of a run, which stays untouched.

    Each array is placed as its leaf of `abstract` says, on any mesh. Raises UserError if the run
    has no checkpoint, none that is good, or one of another configuration.
    """
    directory = epath.Path(workdir).absolute() / FOLDER
    inside = directory.iterdir() if directory.exists() else ()
    steps = sorted(int(path.name) for path in inside if path.name.isdigit())
    if not steps:
        raise errors.UserError(f"{directory} holds no checkpoint: train first, or change --workdir")
    storage.silence_orbax()
    expected = {name: getattr(abstract, name) for name in names}
    step, _, fields = _newest_good(directory, steps, expected, warn)
    return step, fields


def _newest_good(
    directory: epath.Path, steps: Sequence[int], expected: Mapping[str, PyTree], warn: Warn
) -> tuple[int, dict[str, Any], dict[str, PyTree]]:
    for step in sorted(steps, reverse=True):
        with storage.quiet_failure():
            try:
                loaded, reason = _load(directory / str(step), expected), None
            except errors.UserError:
                raise
            except Exception as error:  # the types of a damaged file's errors vary widely
                loaded, reason = None, _short(error)
            if loaded is None:
                gc.collect()
        if _agree(loaded is not None):
            return step, *loaded
        warn(f"checkpoint {directory / str(step)} is damaged ({reason}); trying the one before")
    raise errors.UserError(
        f"no checkpoint in {directory} can be read (tried {', '.join(map(str, steps))}): "
        "restore a copy, or delete the folder to start afresh"
    )


def _load(
    path: epath.Path, expected: Mapping[str, PyTree]
) -> tuple[dict[str, Any], dict[str, PyTree]]:
    with storage.context():
        content = record.unseal(ocp.load_checkpointables(path, {"record": None})["record"])
        record.check_structure(content, expected, str(path))
        wanted = record.flatten(expected)
        skipped = {name: ... for name in content["arrays"] if name not in wanted}
        loaded = ocp.load_checkpointables(path, {"state": {**skipped, **wanted}})["state"]
    arrays = {name: loaded[name] for name in wanted}
    record.check_arrays(content, arrays)
    return content, record.unflatten(arrays, expected)


def _agree(is_good: bool) -> bool:
    """Whether every process could read it."""
    if jax.process_count() == 1:
        return is_good
    return bool(multihost_utils.process_allgather(is_good).all())


def _short(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:120]}" if text else type(error).__name__
