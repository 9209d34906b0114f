"""Says that XLA compiles, where that takes its time, and keeps XLA's log quiet meanwhile."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

EVENT = "/jax/core/compile/backend_compile_duration"  # a scalar when it begins, then a duration
SECONDS = 1.0  # what takes less, as out of the cache, is not worth a word
SECONDS_TOGETHER = 60.0  # programs that follow each other are one wait
SAID = "compiling (about a minute)"
# XLA's levels: 0 information, 1 warnings, 2 errors, 3 what ends the process.
LEVEL = "TF_CPP_MIN_LOG_LEVEL"
ERRORS, FATAL = 2, 3


@contextlib.contextmanager
def told(say: Callable[[str], None]) -> Iterator[None]:
    """While entered, `say` hears of compiling, from a thread of its own.

    XLA's log tells errors alone, and while it compiles nothing: what fails there comes as an
    exception, but "very slow compile" comes as an error. TF_CPP_MIN_LOG_LEVEL=0 shows all of it.
    """
    from jax import monitoring

    wait = Wait(say)
    monitoring.register_scalar_listener(wait.begin)
    monitoring.register_event_duration_secs_listener(wait.end)
    set_log_level(ERRORS)
    try:
        yield
    finally:
        monitoring.unregister_scalar_listener(wait.begin)
        monitoring.unregister_event_duration_listener(wait.end)


class Wait:
    """Programs under way; of several threads, perhaps."""

    def __init__(self, say: Callable[[str], None], seconds: float = SECONDS):
        self._say, self._seconds = say, seconds
        self._lock, self._num_under_way = threading.Lock(), 0
        self._timer: threading.Timer | None = None
        self._ended = -float("inf")  # the last one that was told of

    def begin(self, event: str, value: Any, **_: Any) -> None:
        """JAX hands a program to XLA."""
        if event != EVENT:
            return
        with self._lock:
            self._num_under_way += 1
            if self._num_under_way > 1:
                return
            set_log_level(FATAL)
            self._timer = threading.Timer(self._seconds, self._tell)
            self._timer.daemon = True
            self._timer.start()

    def end(self, event: str, duration_secs: float, **_: Any) -> None:
        """The program is there, or has failed."""
        if event != EVENT:
            return
        with self._lock:
            self._num_under_way = max(0, self._num_under_way - 1)
            if self._num_under_way or self._timer is None:
                return
            self._timer.cancel()
            if duration_secs >= self._seconds:
                self._ended = time.monotonic()
            set_log_level(ERRORS)

    def _tell(self) -> None:
        if time.monotonic() - self._ended > SECONDS_TOGETHER:
            with contextlib.suppress(Exception):  # it must not end a thread of the run
                self._say(SAID)


def set_log_level(level: int) -> None:
    """The least level that XLA's log shows, unless the user wants all of it."""
    wanted = os.environ.get(LEVEL, "")
    if wanted == "0":
        return
    with contextlib.suppress(ImportError, AttributeError):  # no public part of JAX
        from jaxlib import utils

        utils.absl_set_min_log_level(max(level, int(wanted) if wanted.isdecimal() else 0))
