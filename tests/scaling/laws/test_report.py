"""A report says what the runs say, warns where they say little, and draws it."""

import json
import math

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.scaling.laws import fit, plot, report

TRUTH = fit.Law(("parameters", "examples"), 0.8, (20.0, 30.0), (0.5, 0.5))


def rows(sizes=(1e3, 4e3, 16e3, 64e3), budgets=(1e9, 4e9, 16e9), noise=0.002):
    """Runs at budgets in FLOPs, six for each parameter and example, with losses of the law."""
    rng = np.random.default_rng(0)
    made = []
    for budget in budgets:
        for parameters in sizes:
            examples = budget / (6 * parameters)
            loss = TRUTH(np.asarray([[parameters, examples]]))[0] + rng.normal(0, noise)
            run = {"parameters": parameters, "examples": examples, "flops": budget}
            made.append({**run, "name": "run", "budget": budget, "loss": float(loss)})
    return made


def test_the_figures_hold_the_law_and_its_intervals():
    found = report.make(rows(), law="joint", unit="flops").figures()
    numbers = {row["number"]: row for row in found["numbers"]}
    for name in ("floor", "exponent_parameters", "exponent_examples"):
        truth = TRUTH.numbers()[name]
        assert numbers[name]["low"] <= numbers[name]["value"] <= numbers[name]["high"]
        assert numbers[name]["value"] == pytest.approx(truth, abs=0.15)
    assert numbers["best_size_exponent"]["value"] == pytest.approx(0.5, abs=0.1)
    assert len(found["runs"]) == 12
    json.dumps(found, allow_nan=False)  # as it is written


def test_the_best_size_of_a_budget_is_near_the_laws_own():
    table = report.make(rows(noise=0.0), law="joint", unit="flops").table()
    # d/dN of 20 / sqrt(N) + 30 sqrt(6 N / C) is 0 at N = 20 sqrt(C / 6) / 30.
    for row in table:
        assert row["verdict"] == "inside"
        best = 20 / 30 * math.sqrt(row["budget"] / 6)
        assert math.log(row["parabola_parameters"] / best) == pytest.approx(0, abs=0.25)


def test_the_law_of_compute_takes_the_best_run_of_each_budget():
    made = rows(budgets=(1e9, 4e9, 16e9, 64e9, 256e9), noise=0.0)
    found = report.make(made, law="compute", unit="flops")
    assert found.fit.law.names == ("flops",)
    assert [row["loss"] for row in found.fitted] == [
        min(row["loss"] for row in made if row["budget"] == budget)
        for budget in sorted({row["budget"] for row in made})
    ]


def test_a_best_size_outside_those_that_were_run_is_told():
    found = report.make(rows(sizes=(1e5, 2e5, 4e5, 8e5)), law="joint", unit="flops")
    assert "below the smallest size" in "; ".join(found.cautions())


@pytest.mark.parametrize(
    ("law", "unit", "message"),
    [("jont", "flops", "did you mean 'joint'"), ("compute", "examples", "needs budgets in flops")],
)
def test_a_law_that_cannot_be_is_refused(law, unit, message):
    with pytest.raises(errors.UserError, match=message):
        report.make(rows(), law=law, unit=unit)


@pytest.mark.parametrize(("law", "unit"), [("joint", "flops"), ("joint", "examples")])
def test_the_sheet_is_drawn_and_small(law, unit, tmp_path):
    sheet = plot.draw(report.make(rows(), law=law, unit=unit, num_replicates=20), title="Runs")
    sheet.save(tmp_path / "sheet.png", optimize=True)
    assert (tmp_path / "sheet.png").stat().st_size < 100_000
    assert sheet.width > 2 * sheet.height
