"""Checkpoints: saved behind the training's back, and kept by rule."""

import concurrent.futures
import contextlib
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
from orbax.checkpoint import v1 as ocp

from resgen_jax.io import paths
from resgen_jax.runtime import processes
from resgen_jax.training.checkpoints import bucket_copy, manifest, orbax_errors, restoring
from resgen_jax.training.state import TrainState

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
        self.directory = restoring.place_of(workdir)
        self._facts = dict(facts or {})
        self.is_measured = True
        self._mirror: bucket_copy.Mirror | None = None
        self._uploads: concurrent.futures.Executor | None = None
        self._upload: concurrent.futures.Future | None = None
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
        arrays = manifest.flatten({name: getattr(state, name) for name in restoring.FIELDS})
        where = None if iterator is None else iterator.get_state()
        sealed = manifest.make(arrays, self._facts, where, is_measured)
        self._wait_for_upload()  # of the one before, which would make room for this one
        with orbax_errors.explained(self.directory):
            self._manager.save_checkpointables_async(
                step, {"state": arrays, "record": sealed}, force=True
            )
        if self._mirror and self._uploads:
            self._upload = self._uploads.submit(self._publish, self._mirror, step)

    def _publish(self, mirror: bucket_copy.Mirror, step: int) -> None:
        self._manager.wait()
        mirror.publish(step)

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
            if self._mirror and self._uploads:
                self._uploads.shutdown()
                self._mirror.close()

    def restore(
        self, abstract: TrainState, iterator: Any = None, warn: restoring.Warn = lambda text: None
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
        expected = {name: getattr(abstract, name) for name in restoring.FIELDS}
        step, (content, fields) = restoring.newest_good(
            self.directory, steps, restoring.loader(expected), warn
        )
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


def _keeper(keep_last: int, keep_every: int) -> Callable[[Sequence[int]], set[int]]:
    """The rule that orbax has for disks, for the steps in a bucket."""

    def keeps(there: Sequence[int]) -> set[int]:
        for_good = {step for step in there if keep_every and step % keep_every == 0}
        return for_good | set(sorted(there)[-keep_last:])

    return keeps
