"""What watches a run without taking part in it: its time, its hangs, a profile, its program."""

import contextlib
import os
from collections.abc import Callable
from typing import Any

from resgen_jax.io import paths
from resgen_jax.training import programs
from resgen_jax.training.run_spec import Spec
from resgen_jax.training.telemetry import goodput, inspection, timeline, watchdog


class Instruments:
    """Used in a `with`, around all that a run does.

    `line` tells where the time goes, `spent` what became of it over all starts. Raises UserError
    for steps to profile beyond the last one.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        spec: Spec,
        *,
        inspect: inspection.Spec,
        began: float | None,
        warn: Callable[[str], None],
    ):
        self._workdir, self._inspect = workdir, inspect
        self._cache_use = programs.cache_use()
        self.line = timeline.Timeline(began=began)
        self.spent = goodput.Goodput(self.line, goodput.earlier(paths.of(workdir)))
        self.profiler = inspection.Profiler(workdir, inspect.profile_steps, spec.num_steps, warn)
        self._endings = timeline.Endings(self.line.now)
        self._watchdog = watchdog.Watchdog(
            workdir,
            self.line,
            stall_seconds=spec.stall_seconds,
            abort_seconds=spec.stall_abort_seconds,
            facts=self.spent.facts,
            warn=warn,
        )
        self._entered = contextlib.ExitStack()

    def __enter__(self) -> "Instruments":
        for observer in (self._watchdog, self.profiler, self._endings):
            self._entered.enter_context(observer)
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._entered.__exit__(kind, error, traceback)

    def from_cache(self) -> tuple[int, int]:
        """Programs that this run asked the compile cache for, and how many it had."""
        now, before = programs.cache_use(), self._cache_use
        return now[0] - before[0], now[1] - before[1]

    def dispatched(self, step: int, result: Any) -> None:
        """The devices were given a step; `result` is there when it has ended."""
        self.line.dispatched()
        self._endings.watch(step, result)

    def finished(self, step: int) -> None:
        """The result of this step, the oldest under way, was read."""
        self.line.finished(self._endings.of(step))

    def compiled(self, step: programs.Step) -> str | None:
        """The step's program is there; where it was written, if that was asked for."""
        if not self._inspect.dumps_programs:
            return None
        return f"the program of a step is in {inspection.write_program(self._workdir, step)}"
