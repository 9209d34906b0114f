"""What a user may look into besides the metrics: a profile of some steps, the step's program."""

import contextlib
import dataclasses
import json
import os
import pathlib
import re
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax

from resgen_jax.core import errors
from resgen_jax.io import paths
from resgen_jax.training import programs

PROFILE, PROGRAMS = "profile", "programs"
NO_STEPS = range(0)
Warn = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Spec:
    """The steps to profile, and whether to write the step's program."""

    profile_steps: range = NO_STEPS
    dumps_programs: bool = False


NOTHING = Spec()


def steps(text: str) -> range:
    """The steps that `100:110` means: ten, 100 to 109. Raises UserError for anything else."""
    match = re.fullmatch(r"(\d+):(\d+)", text.strip())
    found = range(*map(int, match.groups())) if match else NO_STEPS
    if not found or found[0] < 1:
        raise errors.UserError(
            f"--profile_steps is {text!r}; expected FIRST:END with 1 <= FIRST < END, e.g. 100:110 "
            "for the ten steps 100 to 109"
        )
    return found


class Profiler:
    """Traces some steps into WORKDIR/profile, in the first process only; used in a `with`.

    Nothing else is in the trace: the step before has ended when it begins, and the last one too
    when it ends. Raises UserError at once if all the steps lie beyond `num_steps`.
    """

    def __init__(self, workdir: str | os.PathLike, wanted: range, num_steps: int, warn: Warn):
        self._place = paths.of(workdir) / PROFILE
        self._steps, self._warn = wanted, warn
        self._copied: tempfile.TemporaryDirectory | None = None
        self._is_on = False
        if wanted and wanted[0] > num_steps:
            raise errors.UserError(
                f"--profile_steps begins at {wanted[0]}, but training ends at step {num_steps}; "
                "name earlier steps"
            )
        if wanted and wanted[-1] > num_steps:
            self._steps = range(wanted[0], num_steps + 1)
            warn(f"--profile_steps goes beyond the last step: {self._named()} will be profiled")
        if jax.process_index() != 0:
            self._steps = NO_STEPS

    def __enter__(self) -> "Profiler":
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._stop()

    def begin(self, first: int) -> None:
        """Training begins with the step `first`; says so if it is past the steps to profile."""
        if self._steps and self._steps[0] < first:
            rest = range(first, self._steps.stop)
            self._warn(f"{self._named()} cannot all be profiled: this start begins at step {first}")
            self._steps = rest

    @contextlib.contextmanager
    def step(
        self,
        number: int,
        settle: Callable[[], None],
        pause: Callable[[str], contextlib.AbstractContextManager[None]],
    ) -> Iterator[None]:
        """Around a step; `settle` waits for all steps that were dispatched.

        What the trace itself takes is within `pause("profile")`.
        """
        if number not in self._steps:
            yield
            return
        if not self._is_on:
            settle()
            with pause(PROFILE):
                self._start()
        with jax.profiler.StepTraceAnnotation("train", step_num=number):
            yield
        if number == self._steps[-1]:
            settle()
            with pause(PROFILE):
                self._stop()

    def _start(self) -> None:
        place = self._place
        if paths.is_remote(place):
            self._copied = tempfile.TemporaryDirectory(prefix="resgen-")
            place = self._copied.name
        options = jax.profiler.ProfileOptions()
        options.python_tracer_level = 0  # every Python call would fill the trace, and slow the host
        jax.profiler.start_trace(str(place), profiler_options=options)
        self._is_on = True

    def _stop(self) -> None:
        if not self._is_on:
            return
        self._is_on = False
        jax.profiler.stop_trace()
        if self._copied is not None:
            folder = pathlib.Path(self._copied.name)
            for file in sorted(path for path in folder.rglob("*") if path.is_file()):
                paths.upload(file, self._place / str(file.relative_to(folder)))
            self._copied.cleanup()
        self._warn(
            f"profile of {self._named()} in {self._place}: tensorboard (with the xprof plugin) "
            "--logdir there, or its trace.json.gz in ui.perfetto.dev"
        )

    def _named(self) -> str:
        return f"steps {self._steps[0]} to {self._steps[-1]}"


def write_program(workdir: str | os.PathLike, step: programs.Step) -> paths.Path:
    """WORKDIR/programs/step.*: the jaxpr, StableHLO, the optimized HLO and its memory, in bytes."""
    folder = paths.of(workdir) / PROGRAMS
    if jax.process_index() != 0:
        return folder
    analysis = step.program.memory_analysis()
    memory = {name: getattr(analysis, name) for name in dir(analysis) if name.endswith("_in_bytes")}
    texts = {
        "jaxpr.txt": str(step.traced.jaxpr),
        "stablehlo.txt": step.lowered.as_text(),
        "hlo.txt": step.program.as_text(),
        "memory.json": json.dumps(memory, indent=2) + "\n",
    }
    for name, text in texts.items():
        paths.write(folder / f"step.{name}", text.encode())
    return folder
