"""Ctrl-C and SIGTERM (preemption) as a wish that the loop grants after the step."""

import signal
import threading
from types import FrameType
from typing import Any

import jax
from jax.experimental import multihost_utils

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interruption:
    """While entered, the first signal is noted; a second one acts as it did before: at once.

    With several processes the wish has to reach all of them at the same step, and
    `jax.distributed` already listens to SIGTERM for that; so nothing is caught here then.
    """

    def __init__(self) -> None:
        self._is_noted = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        # Only the main thread may install handlers; elsewhere the owner of the process decides.
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and jax.process_count() == 1:
            self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._restore()

    def is_requested(self, step: int) -> bool:
        """Whether to stop after `step`; the same answer in every process."""
        if jax.process_count() > 1:
            return multihost_utils.reached_preemption_sync_point(step)
        return self._is_noted

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._is_noted = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            # None: it was not installed from Python, and cannot be put back from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        self._before = {}
