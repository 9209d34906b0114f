"""What a long phase shows: a bar with losses and ETA, or plain lines where no terminal is."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import jax
import rich.console
import rich.progress
import rich.text

from resgen_jax.core import durations, errors

SECONDS_BETWEEN_LINES = 10.0
Values = Mapping[str, float]


class Report(Protocol):
    """Told by a phase how far it is."""

    def __call__(self, done: int, values: Values | None = None) -> None:
        """`done` of the phase's total, with the values to show beside it."""

    def note(self, text: str) -> None:
        """A line that stays above the bar."""


def console() -> rich.console.Console:
    """The console of all that is not a result: standard error, of the first process alone."""
    return rich.console.Console(stderr=True, highlight=False, quiet=jax.process_index() != 0)


class Notes:
    """Where remarks go: above the bar of the phase under way, or onto standard error."""

    def __init__(self):
        self.target: Callable[[str], None] = say

    def __call__(self, text: str) -> None:
        self.target(text)


def result(text: str) -> None:
    """A line on standard output, by the first process alone."""
    if jax.process_index() == 0:
        print(errors.shown(text), flush=True)


def say(text: str) -> None:
    """A line on standard error."""
    console().print(rich.text.Text(errors.line(text)), soft_wrap=True)


@contextlib.contextmanager
def phase(name: str, total: int, on: rich.console.Console | None = None) -> Iterator[Report]:
    """A phase of `total` pieces; rates count from its first report, past compiling or a resume."""
    on = on or console()
    if on.is_terminal:
        with _bar_columns(on) as bar:
            yield _Bar(bar, name, total)
    else:
        report = _Lines(on, name, total)
        try:
            yield report
        finally:
            report.finish()


def written(values: Values | None) -> str:
    """`loss 0.123  psnr 24.1`."""
    return "  ".join(f"{name} {value:.4g}" for name, value in (values or {}).items())


class _Bar:
    def __init__(self, bar: rich.progress.Progress, name: str, total: int):
        self._bar, self._has_begun = bar, False
        self._task = bar.add_task(name, total=total, values="starting")

    def __call__(self, done: int, values: Values | None = None) -> None:
        if not self._has_begun:
            self._has_begun = True
            self._bar.reset(self._task, completed=done)
        self._bar.update(self._task, completed=done, values=written(values))

    def note(self, text: str) -> None:
        self._bar.console.print(rich.text.Text(errors.line(text)))


class _Lines:
    def __init__(
        self,
        on: rich.console.Console,
        name: str,
        total: int,
        clock: Callable[[], float] = time.monotonic,
    ):
        self._console, self._name, self._total, self._clock = on, name, total, clock
        self._first: int | None = None
        self._told: int | None = None
        self._done = 0
        self._values: Values = {}
        self._started = self._told_at = clock()

    def __call__(self, done: int, values: Values | None = None) -> None:
        if self._first is None:
            self._first, self._started = done, self._clock()
        self._done, self._values = done, values or {}
        if self._clock() - self._told_at >= SECONDS_BETWEEN_LINES:
            self._tell()

    def note(self, text: str) -> None:
        self._console.print(rich.text.Text(errors.line(text)), soft_wrap=True)

    def finish(self) -> None:
        """The last line, unless it has been told."""
        if self._told != self._done:
            self._tell()

    def _tell(self) -> None:
        self._told_at, self._told = self._clock(), self._done
        seconds = self._told_at - self._started
        line = f"{self._name}  {self._done}/{self._total}  {written(self._values)}".rstrip()
        made, taken = self._done - (self._first or 0), durations.written(seconds)
        if made > 0 and seconds > 0:
            left = (self._total - self._done) * seconds / made
            line += f"  {made / seconds:.3g}/s"
            line += f"  {durations.written(left)} left" if left > 0 else f"  in {taken}"
        self.note(line)


class _Rate(rich.progress.ProgressColumn):
    """Pieces a second."""

    def render(self, task: rich.progress.Task) -> rich.text.Text:
        return rich.text.Text(f"{task.speed:.3g}/s" if task.speed else "", style="cyan")


def _bar_columns(on: rich.console.Console) -> rich.progress.Progress:
    return rich.progress.Progress(
        rich.progress.TextColumn("{task.description:<22}", markup=False),
        rich.progress.BarColumn(bar_width=24),
        rich.progress.MofNCompleteColumn(),
        _Rate(),
        rich.progress.TimeRemainingColumn(compact=True, elapsed_when_finished=True),
        rich.progress.TextColumn("{task.fields[values]}", markup=False),
        console=on,
        speed_estimate_period=30.0,
    )
