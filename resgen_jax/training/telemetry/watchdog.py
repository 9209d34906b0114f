"""A thread that writes where this process stands, and its stacks when nothing moves any more."""

import contextlib
import datetime
import faulthandler
import os
import signal
import threading
from collections.abc import Callable, Mapping
from typing import Any

import jax

from resgen_jax.core import durations
from resgen_jax.io import paths
from resgen_jax.runtime import stacks
from resgen_jax.training.telemetry import heartbeat
from resgen_jax.training.telemetry.timeline import STEP, Timeline, Where

FOLDER = "stalls"
UNWATCHED = ("compile",)  # takes as long as it takes
# A callable that is handed to the loop tells nothing of its progress: a phase that may last longer.
PATIENCE = {"evaluator": 10.0}
LONGEST_TICK = 5.0
STANDARD_ERROR = 2  # by number: it works although sys.stderr is replaced
Warn = Callable[[str], None]


class Watchdog:
    """While entered: heartbeats, stacks of a stalled process, and of any on SIGUSR1 (to stderr).

    A phase of the timeline that does not move for `stall_seconds` is a stall: the stacks of all
    threads go to WORKDIR/stalls/process_N.txt, again each time it has lasted twice as long. After
    `abort_seconds` the process is killed, as if its machine were lost. 0: never. Compiling is no
    stall, and an evaluator may take ten times as long. `facts` are written into each heartbeat.
    It never raises: what fails here must not end a run.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        line: Timeline,
        *,
        stall_seconds: float,
        abort_seconds: float = 0.0,
        facts: Callable[[], Mapping[str, Any]] = dict,
        warn: Warn = lambda text: None,
    ):
        self._workdir, self._line = paths.of(workdir), line
        self._stall_seconds, self._abort_seconds = stall_seconds, abort_seconds
        self._facts, self._warn = facts, warn
        self._process = jax.process_index()
        self._file = self._workdir / FOLDER / f"process_{self._process}.txt"
        limits = [seconds for seconds in (stall_seconds, abort_seconds) if seconds > 0]
        self._tick = min([LONGEST_TICK, *(seconds / 8 for seconds in limits)])
        self._beaten = -float("inf")
        self._stalled: Where | None = None
        self._next = stall_seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        if hasattr(signal, "SIGUSR1"):
            faulthandler.register(signal.SIGUSR1, file=STANDARD_ERROR, all_threads=True)
        self._beat(self._line.where)
        self._arm()
        self._thread.start()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._ended.set()
        self._thread.join()
        if hasattr(signal, "SIGUSR1"):
            faulthandler.unregister(signal.SIGUSR1)
        said = heartbeat.DONE if kind is None else f"ended by {kind.__name__}"
        self._beat(self._line.where._replace(phase=said))

    def _watch(self) -> None:
        while not self._ended.wait(self._tick):
            where = self._line.where
            if self._line.now() - self._beaten >= heartbeat.seconds_between(self._workdir):
                self._beat(where)
            with contextlib.suppress(Exception):
                self._look(where, self._line.now() - where.since)
        faulthandler.cancel_dump_traceback_later()

    def _beat(self, where: Where) -> None:
        self._beaten = self._line.now()
        with contextlib.suppress(Exception):
            heartbeat.write(
                self._workdir, self._process, where, self._beaten - where.since, self._facts()
            )

    def _look(self, where: Where, seconds: float) -> None:
        if self._stalled is not None and where != self._stalled:
            lasted = durations.written(where.since - self._stalled.since)
            self._note(f"it went on after {lasted}\n", f"{_named(self._stalled)} went on: {lasted}")
            self._stalled, self._next = None, self._stall_seconds
        is_watched, patience = where.phase not in UNWATCHED, PATIENCE.get(where.phase, 1.0)
        if self._stall_seconds > 0 and is_watched:
            self._arm()
            if seconds >= self._next * patience:
                self._stalled, self._next = where, 2 * seconds / patience
                self._report(where, seconds)
        else:
            faulthandler.cancel_dump_traceback_later()
        if is_watched and 0 < self._abort_seconds * patience <= seconds:
            self._report(where, seconds)
            self._beat(where)
            os.kill(os.getpid(), signal.SIGKILL)

    def _arm(self) -> None:
        # If a thread keeps Python's lock this one stands still too: C writes the stacks then.
        if self._stall_seconds > 0:
            later = self._stall_seconds + 4 * self._tick
            faulthandler.dump_traceback_later(later, file=STANDARD_ERROR)

    def _report(self, where: Where, seconds: float) -> None:
        what = f"{_named(where)} has not moved for {durations.written(seconds)}"
        lines = [f"process {self._process} of {jax.process_count()}: {what}"]
        if found := stacks.barrier():
            lines.append(f"it waits for the other processes in {found}")
        elif where.phase == STEP:
            lines.append(
                "it waits for its devices; if they exchange data with other processes, look which "
                f"of those has not come to this step: {self._workdir / heartbeat.FOLDER}"
            )
        self._note("\n".join([*lines, "", stacks.of_all_threads()]), f"{what}; see {self._file}")

    def _note(self, text: str, said: str) -> None:
        """Into the file, below what stands there, and in short to the terminal."""
        with contextlib.suppress(Exception):
            time = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            before = self._file.read_text() if self._file.exists() else ""
            paths.write(self._file, f"{before}==== {time} {text}\n".encode())
        with contextlib.suppress(Exception):
            self._warn(said)


def _named(where: Where) -> str:
    return f"{where.phase!r} at step {where.step}"
