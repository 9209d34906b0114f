"""Seconds a training step takes, with pauses (compiling, measuring, saving) left out."""

import collections
import contextlib
import statistics
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

# A step is slow if it takes so many times the median of the steps before it, and a second more.
SLOW_RATIO, SLOW_SECONDS = 5.0, 1.0
NUM_REMEMBERED, NUM_NEEDED = 100, 10


class Lap(NamedTuple):
    """Seconds of the steps of a lap: how they spread about their mean."""

    mean: float
    deviation: float
    median: float
    percentile_95: float
    longest: float


class Slow(NamedTuple):
    """A step that took `ratio` times the median."""

    seconds: float
    ratio: float


class StepClock:
    """Laps of several steps each; starts with the first call of `start`."""

    def __init__(self, now: Callable[[], float] = time.perf_counter):
        self._now = now
        self._since: float | None = None
        self._lap: list[float] = []
        self._recent: collections.deque[float] = collections.deque(maxlen=NUM_REMEMBERED)
        self._total_seconds, self._total_steps = 0.0, 0

    def start(self) -> None:
        """Begin to measure, unless that was done before."""
        if self._since is None:
            self._since = self._now()

    def step(self) -> Slow | None:
        """One more step has ended; what there is to say if it was slow."""
        now = self._now()
        seconds, self._since = now - (self._since or now), now
        self._lap.append(seconds)
        typical = None
        if seconds > SLOW_SECONDS and len(self._recent) >= NUM_NEEDED:
            typical = statistics.median(self._recent)
        self._recent.append(seconds)
        if typical is None or seconds < max(SLOW_RATIO * typical, typical + SLOW_SECONDS):
            return None
        return Slow(seconds, seconds / max(typical, 1e-9))

    def lap(self) -> Lap:
        """The steps since the last lap; begins the next one."""
        seconds, self._lap = np.array(self._lap or [0.0]), []
        self._total_seconds += float(seconds.sum())
        self._total_steps += len(seconds)
        median, percentile_95 = np.percentile(seconds, [50, 95]).tolist()
        return Lap(
            float(seconds.mean()),
            float(seconds.std()),
            median,
            percentile_95,
            float(seconds.max()),
        )

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
