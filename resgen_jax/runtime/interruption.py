"""Ctrl-C, SIGTERM (preemption) and SIGHUP (a closed terminal) as a wish granted after the step."""

import contextlib
import contextvars
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from types import FrameType
from typing import Any, TypeVar

import jax
from jax.experimental import multihost_utils

T = TypeVar("T")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Cut(BaseException):
    """Work that changes nothing was broken off; no error, so that nothing takes it for one."""


class Interruption:
    """While entered, the first signal is noted; a Ctrl-C after it acts as it did before: at once.

    Other signals after the first change nothing: machines send them again and again while the run
    saves. SIGHUP stays ignored where it was (`nohup`). `told` is called at the first one, from a
    thread of its own, at once: also while the main thread compiles.

    With several processes the wish has to reach all of them at the same moment, and
    `jax.distributed` already listens to SIGTERM for that; so nothing is caught here then.
    """

    def __init__(self, told: Callable[[], None] = lambda: None) -> None:
        self._told, self._listener = told, contextlib.ExitStack()
        self._is_noted, self._is_cutting = False, False
        self._num_asked = 0
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "Interruption":
        # Only the main thread may install handlers; elsewhere the owner of the process decides.
        is_main = threading.current_thread() is threading.main_thread()
        if is_main and jax.process_count() == 1:
            wanted = [number for number in SIGNALS if not _is_left_alone(number)]
            self._before = {number: self._install(number) for number in wanted}
            self._listener.enter_context(_heard(wanted, self._told))
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._listener.close()
        for number in tuple(self._before):
            self._restore(number)

    def is_requested(self) -> bool:
        """Whether to stop; the same answer in every process, which ask equally often."""
        if jax.process_count() > 1 and not self._is_noted:
            self._num_asked += 1
            self._is_noted = multihost_utils.reached_preemption_sync_point(self._num_asked)
            if self._is_noted:
                self._told()
        return self._is_noted

    @contextlib.contextmanager
    def cutting(self) -> Iterator[None]:
        """For work that can be broken off: raises Cut at a signal, which waits for nothing.

        With several processes, and where handlers cannot be installed, `watched` raises it.
        """
        token = _watching.set(self)
        self._is_cutting = True
        try:
            if self._is_noted:
                raise Cut
            yield
        finally:
            self._is_cutting = False
            _watching.reset(token)

    def _install(self, number: signal.Signals) -> Any:
        before = signal.signal(number, self._note)
        around = getattr(before, "__self__", None)
        return around._before.get(number) if isinstance(around, Interruption) else before

    def _note(self, number: int, frame: FrameType | None) -> None:
        is_first, self._is_noted = not self._is_noted, True
        self._restore(signal.SIGINT)
        if self._is_cutting and is_first:
            raise Cut

    def _restore(self, number: signal.Signals) -> None:
        if number in self._before:
            handler = self._before.pop(number)
            # None: it was not installed from Python, and cannot be put back from there.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


@contextlib.contextmanager
def _heard(numbers: Iterable[int], told: Callable[[], None]) -> Iterator[None]:
    """Calls `told` in a thread at the first of these signals: Python's own handlers wait for C++.

    They may not print either, for the main thread may be printing.
    """
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    owner = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)

    def listen() -> None:
        is_told = False
        while number := os.read(reading, 1):
            if owner != -1:  # who listened before hears as before
                with contextlib.suppress(OSError):
                    os.write(owner, number)
            if number[0] in numbers and not is_told:
                is_told = True
                with contextlib.suppress(Exception):  # a word is not worth a run
                    told()

    thread = threading.Thread(target=listen, name="signals", daemon=True)
    thread.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(owner)
        os.close(writing)  # what was written is still read
        thread.join()
        os.close(reading)


def _is_left_alone(number: signal.Signals) -> bool:
    return number == signal.SIGHUP and signal.getsignal(number) == signal.SIG_IGN


_watching: contextvars.ContextVar[Interruption | None] = contextvars.ContextVar(
    "watching", default=None
)


def watched(items: Iterable[T]) -> Iterator[T]:
    """The items, with a moment to be broken off (`Interruption.cutting`) before each.

    Of several processes all have to take equally many.
    """
    for item in items:
        stop = _watching.get()
        if stop is not None and stop.is_requested():
            raise Cut
        yield item
