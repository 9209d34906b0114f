"""What a run tells: lines in the metrics file, and events for a progress bar."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from resgen_jax.core import durations
from resgen_jax.training.run_spec import Spec
from resgen_jax.training.telemetry import clock, goodput, memory, writer
from resgen_jax.training.telemetry.observers import Instruments


@dataclasses.dataclass(frozen=True)
class Progress:
    """What a progress bar shows; `message` is a warning for the user, where there is one."""

    step: int
    num_steps: int
    metrics: dict[str, float]
    seconds_left: float | None = None
    message: str | None = None


class Reporter:
    """Logs every `log_every` steps, the first and the last; reports progress at each step.

    Training metrics have lines of their own (split "train"), apart from the measured times (splits
    "speed" and "goodput"), so that they are the same bit for bit whenever a run is repeated.
    """

    def __init__(
        self,
        out: writer.Writer,
        progress: Callable[[Progress], None],
        spec: Spec,
        *,
        rates: Callable[[float], Mapping[str, float]],
        tools: Instruments,
        remarks: Callable[[Mapping[str, float]], Mapping[str, str]],
    ):
        self._remarks = remarks
        self._told: set[str] = set()
        self._out, self._progress, self._rates = out, progress, rates
        self._num_steps, self._log_every = spec.num_steps, spec.log_every
        self._latest: dict[str, float] = {}
        self._tools = tools
        self._drawn, self._data_seconds, self._of_a_batch = 0, 0.0, 0.0
        self._has_warned = False
        self.clock = clock.StepClock(tools.line.now)

    def is_logged(self, step: int) -> bool:
        """Whether all metrics of this step are written; of the others only the loss is read."""
        return step in (1, self._num_steps) or step % self._log_every == 0

    def flush(self) -> None:
        """Before a checkpoint: a run that goes on from it has all lines up to it."""
        self._out.flush()

    def compiled(self, step: int, seconds: float) -> None:
        """The program was compiled and `step` begins."""
        asked, had = self._tools.from_cache()
        found = {"compile_cache_requests": asked, "compile_cache_hits": had}
        self._out.write(step, "speed", {"compile_seconds": seconds, **found})
        self._latest["compile_seconds"] = seconds
        self.clock.start()

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        """A step has ended with these metrics."""
        slow = self.clock.step()
        self._latest |= {name: float(value) for name, value in values.items()}
        if self.is_logged(step):
            self._out.write(step, "train", values)
            speed = self._speed()
            self._out.write(step, "speed", speed)
            self._latest |= speed
            self.spend(step)
            self._remark(step, values)
            self._has_warned = False
        left = self.clock.seconds_left(self._num_steps - step)
        self._progress(Progress(step, self._num_steps, dict(self._latest), left))
        if slow is not None and not self._has_warned:  # once a lap: they come in herds
            self._has_warned = True
            took = durations.written(slow.seconds)
            self.say(step, f"step {step} took {took}, {slow.ratio:.0f} times the median")

    def measured(self, step: int, split: str, metrics: Mapping[str, Any]) -> None:
        """Something besides training was measured; arrays uint8 "h w c" among it are pictures."""
        pictures = {name: value for name, value in metrics.items() if np.ndim(value) == 3}
        metrics = {name: value for name, value in metrics.items() if name not in pictures}
        if metrics:
            self._out.write(step, split, metrics)
        if pictures:
            self._out.show(step, split, pictures)
        self._latest |= {f"{split}/{name}": float(value) for name, value in metrics.items()}
        self._progress(Progress(step, self._num_steps, dict(self._latest)))
        self._remark(step, metrics)

    def spend(self, step: int) -> dict[str, float]:
        """Write down where the time went until `step`."""
        measured = self._tools.spent.measured()
        self._out.write(step, goodput.SPLIT, measured)
        return measured

    def ended(self, step: int) -> None:
        """Nothing more is done after `step`: sum up where the time went."""
        self.say(step, goodput.summary(self.spend(step), self._tools.from_cache()))

    def say(self, step: int, message: str) -> None:
        """A remark for the user."""
        self._progress(Progress(step, self._num_steps, dict(self._latest), message=message))

    def _remark(self, step: int, metrics: Mapping[str, Any]) -> None:
        found = {name: float(value) for name, value in metrics.items()}
        for name, message in self._remarks(found).items():
            if name not in self._told:
                self._told.add(name)
                self.say(step, message)

    def _speed(self) -> dict[str, float]:
        lap, line = self.clock.lap(), self._tools.line
        drawn, data_seconds = line.entered["data"], line.host_seconds.get("data", 0.0)
        if drawn > self._drawn:  # one ahead of the steps, or as many as they
            self._of_a_batch = (data_seconds - self._data_seconds) / (drawn - self._drawn)
        self._drawn, self._data_seconds = drawn, data_seconds
        return {
            "step_seconds": lap.mean,
            "step_seconds_deviation": lap.deviation,
            "step_seconds_median": lap.median,
            "step_seconds_p95": lap.percentile_95,
            "step_seconds_max": lap.longest,
            "data_seconds": self._of_a_batch,  # it costs nothing where it is behind a step
            **self._rates(lap.mean),
            **memory.watermark(),
        }
