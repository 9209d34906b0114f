"""What a run tells: lines in the metrics file, and events for a progress bar."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from resgen_jax.training import clock, writer


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

    Training metrics have lines of their own (split "train"), apart from the measured times (split
    "speed"), so that they are the same bit for bit whenever a run is repeated.
    """

    def __init__(
        self,
        out: writer.Writer,
        progress: Callable[[Progress], None],
        *,
        num_steps: int,
        log_every: int,
        rates: Callable[[float], Mapping[str, float]],
    ):
        self._out, self._progress, self._rates = out, progress, rates
        self._num_steps, self._log_every = num_steps, log_every
        self._latest: dict[str, float] = {}
        self.clock = clock.StepClock()

    def is_logged(self, step: int) -> bool:
        """Whether all metrics of this step are written; of the others only the loss is read."""
        return step in (1, self._num_steps) or step % self._log_every == 0

    def flush(self) -> None:
        """Before a checkpoint: a run that goes on from it has all lines up to it."""
        self._out.flush()

    def compiled(self, step: int, seconds: float) -> None:
        """The program was compiled and `step` begins."""
        self._out.write(step, "speed", {"compile_seconds": seconds})
        self._latest["compile_seconds"] = seconds
        self.clock.start()

    def stepped(self, step: int, values: Mapping[str, Any]) -> None:
        """A step has ended with these metrics."""
        self.clock.step()
        self._latest |= {name: float(value) for name, value in values.items()}
        if self.is_logged(step):
            self._out.write(step, "train", values)
            seconds = self.clock.lap()
            speed = {"step_seconds": seconds, **self._rates(seconds)}
            self._out.write(step, "speed", speed)
            self._latest |= speed
        left = self.clock.seconds_left(self._num_steps - step)
        self._progress(Progress(step, self._num_steps, dict(self._latest), left))

    def measured(self, step: int, split: str, metrics: Mapping[str, Any]) -> None:
        """Something besides training was measured."""
        self._out.write(step, split, metrics)
        self._latest |= {f"{split}/{name}": float(value) for name, value in metrics.items()}
        self._progress(Progress(step, self._num_steps, dict(self._latest)))
