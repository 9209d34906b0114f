"""Frequent checkpoints on a fast disk of this machine (/dev/shm, say) beside those that stay.

For what takes the process but not the machine: a restarted container, a crash, a preempted job that
comes back to its host. orbax's own emergency checkpoints need two data-parallel slices or more, and
keep no checksums; here all processes share the place, so they run on one machine.

A run does not end because the fast disk is full: it goes on without.
"""

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from typing import Any, cast

import jax

from resgen_jax.core import errors
from resgen_jax.io import json_files, paths
from resgen_jax.runtime import processes, work_directory
from resgen_jax.training.checkpoints import checkpoint, orbax_errors, restoring
from resgen_jax.training.run_spec import Spec
from resgen_jax.training.state import TrainState

FILE = "local_checkpoints.json"  # in the run directory: which of those in the place are this run's
UNFINISHED = ".orbax-checkpoint-tmp"
OFF = "local checkpoints are switched off until the next start"


class Checkpoints(checkpoint.Checkpoints):
    """The checkpoints of a run as its `spec` says, and where it asks for them the local ones.

    A local one is used if it is newer than the newest that stays, and whole in every process. They
    are removed when the run has ended. Where their disk refuses, they are switched off until the
    next start, and `warn` is told; with several processes, which cannot all know, it is an error.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        spec: Spec,
        facts: Mapping[str, Any] | None = None,
        warn: restoring.Warn = lambda text: None,
    ):
        self._local: checkpoint.Checkpoints | None = None
        self._folder: paths.Path | None = None
        self._warn = warn
        rules = {"keep_last": spec.keep_last, "keep_every": spec.keep_every}
        super().__init__(workdir, facts=facts, **rules)
        if spec.local_checkpoint_every:
            self._folder = _folder(spec.local_checkpoints, workdir)
            with self._switched_off_if_full():
                self._local = self._open(self._folder, facts)

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        if self._local is not None:
            with self._switched_off_if_full():
                self._local.__exit__(kind, error, traceback)
        super().__exit__(kind, error, traceback)
        if self._folder is not None and error is None and jax.process_index() == 0:
            shutil.rmtree(self._folder, ignore_errors=True)

    def save(
        self, step: int, state: TrainState, iterator: Any = None, is_measured: bool = True
    ) -> None:
        """Saves a step, locally or where all checkpoints lie; see `Checkpoints.save`."""
        if self._local is not None:  # one at a time: of several processes, they would mix
            with self._switched_off_if_full():
                self._local.wait()
        super().save(step, state, iterator, is_measured)

    def save_locally(self, step: int, state: TrainState, iterator: Any = None) -> None:
        """Save in the background, on this machine, unless that is switched off."""
        if self._folder is None:
            raise ValueError("this run keeps no local checkpoints")
        if self._local is not None:
            self.wait()
            with self._switched_off_if_full():
                self._local.save(step, state, iterator)

    def restore(
        self,
        abstract: TrainState,
        iterator: Any = None,
        warn: restoring.Warn = lambda text: None,
    ) -> TrainState | None:
        """As of all checkpoints; a local one that is damaged is told of, and left alone."""
        if self._local is not None and self._local.latest > self.latest:
            with self._switched_off_if_full():
                try:
                    state = self._local.restore(abstract, iterator, warn)
                    warn(f"goes on from the local checkpoint of step {self._local.latest}")
                    self.is_measured = self._local.is_measured
                    return state
                except restoring.NoneGood as failure:
                    warn(str(failure))
                    self._local.set_all_aside()
        return super().restore(abstract, iterator, warn)

    def _open(
        self, folder: paths.Path, facts: Mapping[str, Any] | None
    ) -> checkpoint.Checkpoints | None:
        try:
            work_directory.check(folder, "train.local_checkpoints")
        except work_directory.FullDisk as failure:  # which all processes learn
            self._warn(f"{OFF}: {failure}")
            return None
        return checkpoint.Checkpoints(folder, keep_last=1, facts=facts)

    @contextlib.contextmanager
    def _switched_off_if_full(self) -> Iterator[None]:
        try:
            yield
        except orbax_errors.DiskError as failure:
            if jax.process_count() > 1:
                raise
            local, self._local = self._local, None
            if local is not None:
                local.__exit__(type(failure), failure, failure.__traceback__)
            folder = cast(paths.Path, self._folder)  # there is one where any are kept
            for unfinished in folder.glob(f"{restoring.FOLDER}/*{UNFINISHED}*"):
                shutil.rmtree(unfinished, ignore_errors=True)  # others need the room
            self._warn(f"{OFF}: {folder}: {failure.reason}")


def check(spec: Spec) -> None:
    """Raises UserError unless place and frequency are given together, and the place is a disk."""
    place, every = spec.local_checkpoints, spec.local_checkpoint_every
    if bool(place) != bool(every):
        raise errors.UserError(
            f"train.local_checkpoints is {place!r} and train.local_checkpoint_every {every}; set "
            "both (/dev/shm/resgen and 50, say), or neither"
        )
    if place and paths.is_remote(place):
        raise errors.UserError(
            f"train.local_checkpoints is {place!r}, a bucket; name a folder of this machine"
        )


def _folder(place: str, workdir: str | os.PathLike) -> paths.Path:
    """Where this run's lie; a run begun anew in the same directory has another."""
    file, mine = paths.of(workdir) / FILE, ""
    if jax.process_index() == 0:
        with orbax_errors.explained(file.parent):
            try:
                mine = json_files.parse(file.read_bytes())["id"]
                paths.check_name(mine, os.fspath(file))
            except (FileNotFoundError, ValueError, KeyError, TypeError):
                mine = secrets.token_hex(8)
                paths.write(file, (json.dumps({"id": mine}) + "\n").encode())
    return paths.absolute(place) / f"run-{processes.gather('the local checkpoints', mine)[0]}"
