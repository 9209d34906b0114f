"""What the finished runs of a study say: the law, its intervals, and the iso-FLOP table."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from resgen_jax.core import build, errors
from resgen_jax.scaling.laws import fit, iso_flops

LEVEL = 0.9  # of every interval
MOST_RATIO = 3.0  # of an exponent's interval, before a reader is warned
LAWS = {"joint": ("parameters", "examples"), "compute": ("flops",)}
Rows = Sequence[Mapping[str, Any]]


@dataclasses.dataclass(frozen=True)
class Budget:
    """The runs of one budget, and where their losses are lowest."""

    budget: float
    rows: Rows
    lowest: iso_flops.Minimum | None  # None with fewer than three sizes

    def columns(self) -> tuple[np.ndarray, np.ndarray]:
        """Parameters and losses of its runs."""
        return _column(self.rows, "parameters"), _column(self.rows, "loss")


@dataclasses.dataclass(frozen=True)
class Result:
    """The fitted law, the rows it was fitted to, and the budgets."""

    rows: Rows  # of all finished runs, each with its loss
    unit: str  # of the budgets
    fitted: Rows
    fit: fit.Fit
    budgets: tuple[Budget, ...]

    def figures(self) -> dict[str, Any]:
        """Everything in plain values, as it is printed and written."""
        law, found = self.fit.law, self.fit
        numbers = [
            _number(name, value, found.interval(name, LEVEL))
            for name, value in law.numbers().items()
        ]
        if "examples" in law.names and "parameters" in law.names:
            numbers.append(self._best_size())
        return {
            "law": written(law),
            "numbers": numbers,
            "interval_level": LEVEL,
            "share_explained": found.share_explained,
            "largest_residual": float(np.abs(found.residuals).max()),
            "bootstrap_replicates": len(found.replicates),
            "bootstrap_failures": found.num_failed,
            "caution": "; ".join(self.cautions()) or "none",
            **({"iso_flops": self.table()} if self.unit == "flops" else {}),
            "runs": [
                {**row, "law": float(value)}
                for row, value in zip(self.rows, law(values(self.rows, law.names)), strict=True)
            ],
        }

    def _best_size(self) -> dict[str, Any]:
        exponents = [
            fit.best_size_exponent(law, "parameters", "examples")
            for law in (self.fit.law, *self.fit.replicates)
        ]
        return _number("best_size_exponent", exponents[0], fit.interval(exponents[1:], LEVEL))

    def cautions(self) -> list[str]:
        """What a reader has to know before trusting the numbers."""
        law, found = self.fit.law, self.fit
        notes = [
            f"the exponent of {name} is at the end of its range: these runs do not determine it"
            for name in law.at_bound()
        ]
        notes += self._undetermined()
        if found.num_failed > 0.05 * (found.num_failed + len(found.replicates)):
            notes.append(
                f"{found.num_failed} replicates found no falling law: the intervals are too narrow"
            )
        outside = [
            f"{each.budget:g} ({each.lowest.verdict})"
            for each in self.budgets
            if each.lowest and each.lowest.verdict != "inside"
        ]
        if outside and self.unit == "flops":
            named = ", ".join(outside)
            notes.append(f"no best size among those that were run at {named}")
        return notes

    def _undetermined(self) -> list[str]:
        """Numbers whose interval is too wide to use them: a larger span of runs is needed."""
        notes = []
        for name in self.fit.law.names:
            low, high = self.fit.interval(f"exponent_{name}", LEVEL)
            if high > MOST_RATIO * low:
                notes.append(f"the exponent of {name} is only known to be {low:.2g} to {high:.2g}")
        low, high = self.fit.interval("floor", LEVEL)
        if high - low > np.ptp(_column(self.fitted, "loss")):
            notes.append(
                f"the floor is only known to be {low:.2g} to {high:.2g}: do not extrapolate"
            )
        return notes

    def table(self) -> list[dict[str, Any]]:
        """The best size of every budget, as far as the runs tell."""
        rows = []
        for each in self.budgets:
            lowest, (parameters, losses) = each.lowest, each.columns()
            inside = lowest if lowest is not None and lowest.verdict == "inside" else None
            rows.append(
                {
                    "budget": each.budget,
                    "runs": len(each.rows),
                    "best_run_parameters": int(parameters[np.argmin(losses)]),
                    "best_run_loss": float(losses.min()),
                    "parabola_parameters": inside.size if inside else None,
                    "parabola_loss": inside.loss if inside else None,
                    "verdict": lowest.verdict if lowest else "fewer than 3 sizes",
                }
            )
        return rows


def make(rows: Rows, *, law: str, unit: str, num_replicates: int = 400) -> Result:
    """The law named `law` through the rows' losses; raises UserError where there is none.

    "joint" takes every run. "compute" takes the best run of each budget, whose size was free.
    """
    if law not in LAWS:
        raise errors.UserError(f"--law is {law!r}; {build.nearest(law, LAWS)}")
    if law == "compute" and unit != "flops":
        raise errors.UserError(
            f"the law of compute needs budgets in flops; this study's are in {unit}"
        )
    budgets = tuple(_budget(budget, rows) for budget in sorted({row["budget"] for row in rows}))
    best = [min(each.rows, key=lambda row: row["loss"]) for each in budgets]
    fitted = rows if law == "joint" else best
    columns = {name: _column(fitted, name) for name in LAWS[law]}
    found = fit.fit(columns, _column(fitted, "loss"), num_replicates=num_replicates)
    return Result(rows, unit, fitted, found, budgets)


def written(law: fit.Law) -> str:
    """The law as a line of text."""
    terms = [
        f" + {scale:.3g} / {name}^{power:.3g}"
        for name, scale, power in zip(law.names, law.coefficients, law.exponents, strict=True)
    ]
    return f"loss = {law.floor:.3g}" + "".join(terms)


def values(rows: Rows, names: Sequence[str]) -> np.ndarray:
    """A table, a column a name."""
    return np.stack([_column(rows, name) for name in names], axis=-1)


def _number(name: str, value: float, ends: tuple[float, float]) -> dict[str, Any]:
    return {"number": name, "value": value, "low": ends[0], "high": ends[1]}


def _budget(budget: float, rows: Rows) -> Budget:
    rows = sorted(
        (row for row in rows if row["budget"] == budget), key=lambda row: row["parameters"]
    )
    sizes, losses = _column(rows, "parameters"), _column(rows, "loss")
    has_enough = len(set(sizes.tolist())) >= 3
    return Budget(budget, rows, iso_flops.minimum(sizes, losses) if has_enough else None)


def _column(rows: Rows, name: str) -> np.ndarray:
    return np.asarray([row[name] for row in rows], float)
