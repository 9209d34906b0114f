"""A scaling study: sizes x budgets x seeds as runs, what they cost, and what came of them."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from resgen_jax.core import build, errors
from resgen_jax.io import paths
from resgen_jax.training.checkpoints import restoring
from resgen_jax.training.telemetry import writer

UNITS = ("flops", "examples")
HELD_OUT = "held_out"
DONE, BEGUN, NEW = "done", "begun", "new"


@dataclasses.dataclass(frozen=True)
class Spec:
    """The grid: every size at every budget with every seed."""

    budgets: tuple[float, ...]
    unit: str = "flops"  # of the budgets: of training, or examples seen
    seeds: tuple[int, ...] = (0,)
    metric: str = "loss"  # of the held-out metrics at a run's last step
    meaning: str = "held-out loss"  # of the metric, with its unit, for the plot

    def __post_init__(self):
        if self.unit not in UNITS:
            hint = build.nearest(self.unit, UNITS)
            raise errors.UserError(f"unit is {self.unit!r}; {hint}")
        for name in ("budgets", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise errors.UserError(f"{name} is {values}; expected different values, 1 or more")
        if not all(math.isfinite(budget) and budget > 0 for budget in self.budgets):
            raise errors.UserError(f"budgets is {self.budgets}; expected positive numbers")


@dataclasses.dataclass(frozen=True)
class Size:
    """One model of the study: what its runs cost follows from this."""

    name: str
    parameters: int  # of the model itself, without heads that serve training only
    flops_per_example: float  # of training: forward and backward
    batch_size: int


@dataclasses.dataclass(frozen=True)
class Run:
    """One training run of the grid."""

    size: Size
    budget: float
    seed: int
    num_steps: int

    @property
    def name(self) -> str:
        """Its folder below runs/ of the study."""
        return f"{self.size.name}_{self.budget:.4g}_seed{self.seed}"

    @property
    def examples(self) -> int:
        """Examples seen, repeats counted."""
        return self.num_steps * self.size.batch_size

    @property
    def flops(self) -> float:
        """Operations of the whole training, evaluation left out."""
        return self.examples * self.size.flops_per_example

    def row(self) -> dict[str, Any]:
        """What the run is, in plain values."""
        return {
            "name": self.name,
            "size": self.size.name,
            "parameters": self.size.parameters,
            "budget": self.budget,
            "seed": self.seed,
            "num_steps": self.num_steps,
            "examples": self.examples,
            "flops": self.flops,
        }


def expand(spec: Spec, sizes: Iterable[Size]) -> list[Run]:
    """All runs, the cheapest first: whatever is wrong shows early.

    Steps are the budget's, rounded to the nearest whole step. Raises UserError for a budget below
    a step, and for two sizes with the same number of parameters.
    """
    sizes = sorted(sizes, key=lambda size: size.parameters)
    counts = [size.parameters for size in sizes]
    if not sizes or len(set(counts)) < len(counts):
        raise errors.UserError(
            f"the sizes have {counts} parameters; expected one or more sizes, all different"
        )
    runs = [
        Run(size, budget, seed, _num_steps(spec, size, budget))
        for size in sizes
        for budget in spec.budgets
        for seed in spec.seeds
    ]
    if len({run.name for run in runs}) < len(runs):
        raise errors.UserError(
            f"two budgets of {spec.budgets} agree in their first four digits, by which runs are "
            f"named; take others"
        )
    return sorted(runs, key=lambda run: run.flops)


def _num_steps(spec: Spec, size: Size, budget: float) -> int:
    per_example = size.flops_per_example if spec.unit == "flops" else 1.0
    steps = budget / (per_example * size.batch_size)
    if steps < 1:
        raise errors.UserError(
            f"the budget of {budget:g} {spec.unit} is {steps:.2g} steps of the size {size.name!r}; "
            f"take at least {per_example * size.batch_size:.3g}"
        )
    return round(steps)


def status(workdir: paths.Path, num_steps: int) -> str:
    """`done` once the last step is measured and saved, `begun` once there is a config, else `new`.

    The checkpoint counts too: a run killed between the two has its last steps taken again.
    """
    if num_steps in restoring.steps(workdir) and held_out(workdir, num_steps):
        return DONE
    return BEGUN if (workdir / "config.json").exists() else NEW


def held_out(workdir: paths.Path, step: int) -> dict[str, Any]:
    """What was measured held out at `step`; empty if nothing was."""
    found: dict[str, Any] = {}
    for line in writer.read(workdir):
        if line["split"] == HELD_OUT and line["step"] == step:
            found = line
    return found


def measured_rate(workdir: paths.Path) -> float | None:
    """Model FLOP/s of a run, the median of what it logged; None before it logged any."""
    rates = sorted(
        line["model_flops_per_second"]
        for line in writer.read(workdir)
        if line["split"] == "speed" and line.get("model_flops_per_second")
    )
    return rates[len(rates) // 2] if rates else None


def chip_hours(flops: float, flops_per_second: float) -> float:
    """Hours of one chip at a rate it holds throughout; compiling and measuring come on top."""
    return flops / flops_per_second / 3600


def losses(
    folder: paths.Path, rows: Sequence[Mapping[str, Any]], metric: str
) -> list[dict[str, Any]]:
    """The rows of finished runs with their `loss`, read from the metrics of each.

    Raises UserError for a metric that the runs do not have, naming the nearest.
    """
    found = []
    for row in rows:
        workdir = folder / row["name"]
        if status(workdir, row["num_steps"]) != DONE:
            continue
        measured = held_out(workdir, row["num_steps"])
        if metric not in measured:
            known = [name for name in measured if name not in ("step", "split")]
            raise errors.UserError(
                f"{workdir} measured no {metric!r} held out; {build.nearest(metric, known)}"
            )
        found.append({**row, "loss": measured[metric]})
    return found
