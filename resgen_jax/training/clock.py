"""Seconds a training step takes, with pauses (compiling, measuring, saving) left out."""

import contextlib
import time
from collections.abc import Callable, Iterator


class StepClock:
    """Laps of several steps each; starts with the first call of `start`."""

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self._now = now
        self._since: float | None = None
        self._num_steps = 0
        self._total_seconds, self._total_steps = 0.0, 0

    def start(self) -> None:
        """Begin to measure, unless that was done before."""
        if self._since is None:
            self._since = self._now()

    def step(self) -> None:
        """One more step has ended."""
        self._num_steps += 1

    def lap(self) -> float:
        """Seconds a step since the last lap; begins the next one."""
        now = self._now()
        seconds, num_steps = now - (self._since or now), max(self._num_steps, 1)
        self._total_seconds += seconds
        self._total_steps += self._num_steps
        self._since, self._num_steps = now, 0
        return seconds / num_steps

    def seconds_left(self, num_steps: int) -> float | None:
        """Seconds that `num_steps` more would take at the mean pace of all laps, once known."""
        if not self._total_steps:
            return None
        return num_steps * self._total_seconds / self._total_steps

    @contextlib.contextmanager
    def pause(self) -> Iterator[None]:
        """Time spent inside does not count."""
        before = self._now()
        yield
        if self._since is not None:
            self._since += self._now() - before
