"""How much of a run's time trained it: the parts of its wall time, over all its starts."""

import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from resgen_jax.core import durations
from resgen_jax.io import paths
from resgen_jax.training.telemetry import heartbeat, writer
from resgen_jax.training.telemetry.timeline import OTHER, STEP, Timeline

SPLIT = "goodput"
PARTS = (
    "startup",
    "restore",
    "compile",
    "data",
    STEP,
    "checkpoint",
    "evaluation",
    "profile",
    OTHER,
)
PART_OF = {"evaluator": "evaluation"}  # what is not a part of its own, and not "other"
LOST, DOWN, WALL, STARTS = "lost_seconds", "down_seconds", "wall_seconds", "num_starts"


class Earlier(NamedTuple):
    """What the starts before this one left in the run directory."""

    lines: list[dict[str, Any]]  # of the split, oldest first
    wall_seconds: float
    num_starts: int
    down_seconds: float
    seen_alive: float | None  # time.time(); None if the last start ended as it should


def earlier(workdir: paths.Path) -> Earlier:
    """Read before this start writes anything. A killed start lasted until its last heartbeat."""
    lines = [line for line in writer.read(workdir) if line["split"] == SPLIT]
    beat = heartbeat.read(workdir, 0)
    last = lines[-1] if lines else {}
    return Earlier(
        lines,
        wall_seconds=max(last.get(WALL, 0.0), beat.get(WALL, 0.0)),
        num_starts=int(max(last.get(STARTS, 0), beat.get(STARTS, 0))),
        down_seconds=max(last.get(DOWN, 0.0), beat.get(DOWN, 0.0)),
        seen_alive=None if beat.get("phase") == heartbeat.DONE else beat.get("unix_time"),
    )


class Goodput:
    """The parts of the time of all starts of a run; they add up to its wall time.

    The wall time is that of the processes: what lies between a start's end and the next one is
    told apart ("down"). What a start did beyond the checkpoint that the next one went on from has
    to be done again, and is "lost", whatever it was.
    """

    def __init__(self, line: Timeline, before: Earlier):
        self._line, self._before = line, before
        self._carried = dict.fromkeys([f"{part}_seconds" for part in PARTS], 0.0)
        self._down = before.down_seconds

    @property
    def num_starts(self) -> int:
        """Starts of this run, this one too."""
        return self._before.num_starts + 1

    def facts(self) -> dict[str, float]:
        """What the next start reads in the heartbeat of this one; another thread may ask."""
        wall = self._before.wall_seconds + self._line.now() - self._line.began
        return {WALL: round(wall, 3), STARTS: self.num_starts, DOWN: round(self._down, 3)}

    def go_on_from(self, restored_step: int) -> None:
        """This start restored the state of that step, 0 if none."""
        kept = [line for line in self._before.lines if line["step"] <= restored_step]
        last = kept[-1] if kept else {}
        self._carried |= {name: last.get(name, 0.0) for name in self._carried}
        if self._before.seen_alive is not None:
            began = time.time() - (self._line.now() - self._line.began)
            self._down += max(0.0, began - self._before.seen_alive)

    def measured(self) -> dict[str, float]:
        """The numbers of a line, until now or the last step that ended."""
        wall = self._before.wall_seconds + self._line.settle()
        seconds = dict(self._carried)
        for name, more in self._line.seconds.items():
            part = PART_OF.get(name, name)
            seconds[f"{part if part in PARTS else OTHER}_seconds"] += more
        lost = self._before.wall_seconds - sum(self._carried.values())
        return {
            "goodput": seconds[f"{STEP}_seconds"] / max(wall, 1e-9),
            WALL: wall,
            **seconds,
            LOST: max(lost, 0.0),
            DOWN: self._down,
            STARTS: float(self.num_starts),
        }


def summary(measured: Mapping[str, float], cache_use: tuple[int, int] = (0, 0)) -> str:
    """One line for a terminal: the share that trained, and where the rest went, largest first.

    `cache_use`: programs that the compile cache was asked for, and those it had.
    """
    names = {"data": "waiting for data", LOST.removesuffix("_seconds"): "done again after restarts"}
    parts = {part: measured[f"{part}_seconds"] for part in (*PARTS, "lost")}
    shown = sorted(parts, key=lambda part: parts[part], reverse=True)
    least = 0.001 * measured[WALL]
    text = ", ".join(
        f"{names.get(part, part)} {durations.written(parts[part])}"
        for part in shown
        if parts[part] > least
    )
    starts = int(measured[STARTS])
    asked, had = cache_use
    more = f"; {had} of {asked} programs from the compile cache" if asked else ""
    if starts > 1:
        more += f"; {starts} starts, {durations.written(measured[DOWN])} between them"
    return f"goodput {measured['goodput']:.1%} of {durations.written(measured[WALL])}: {text}{more}"
