"""A study expands to every size at every budget, and knows what its runs cost and what is done."""

import json

import pytest

from resgen_jax.core import errors
from resgen_jax.scaling.laws import study

SMALL = study.Size("small", 1000, flops_per_example=6e3, batch_size=10)
LARGE = study.Size("large", 4000, flops_per_example=24e3, batch_size=10)


def test_every_size_meets_every_budget_and_seed_once():
    spec = study.Spec(budgets=(6e6, 12e6), seeds=(0, 1))
    runs = study.expand(spec, [LARGE, SMALL])
    assert len({run.name for run in runs}) == len(runs) == 2 * 2 * 2
    assert [run.flops for run in runs] == sorted(run.flops for run in runs)
    # 6e6 / (6e3 x 10) steps of the small size, a quarter of them of the large one.
    steps = {(run.size.name, run.budget): run.num_steps for run in runs}
    assert steps == {
        ("small", 6e6): 100,
        ("small", 12e6): 200,
        ("large", 6e6): 25,
        ("large", 12e6): 50,
    }
    assert all(run.flops == run.budget for run in runs)


def test_budgets_in_examples_are_the_same_for_every_size():
    runs = study.expand(study.Spec(budgets=(500.0,), unit="examples"), [SMALL, LARGE])
    assert [(run.num_steps, run.examples) for run in runs] == [(50, 500), (50, 500)]


def test_a_chip_hour_is_its_rate_times_an_hour():
    assert study.chip_hours(3600e12, 1e12) == 1
    # 1e21 FLOPs at 40 % of a v5e's 197e12, by hand.
    assert study.chip_hours(1e21, 0.4 * 197e12) == pytest.approx(3525, rel=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (dict(unit="flop"), "did you mean 'flops'"),
        (dict(budgets=()), "budgets is (); expected different values"),
        (dict(budgets=(1e6, 1e6)), "expected different values"),
        (dict(budgets=(-1.0,)), "expected positive numbers"),
        (dict(seeds=(1, 1)), "seeds is (1, 1)"),
        (dict(budgets=(1e3,)), "0.017 steps of the size 'small'"),
        (dict(budgets=(1e8, 1.00001e8)), "agree in their first four digits"),
    ],
)
def test_a_grid_that_makes_no_sense_is_refused(change, message):
    with pytest.raises(errors.UserError) as failure:
        study.expand(study.Spec(**{"budgets": (6e6,), **change}), [SMALL, LARGE])
    assert message in str(failure.value)


def test_two_sizes_of_one_count_are_refused():
    with pytest.raises(errors.UserError, match=r"\[1000, 1000\] parameters"):
        study.expand(study.Spec(budgets=(6e6,)), [SMALL, SMALL])


def finished(workdir, step, **metrics):
    """A run directory as one that has ended leaves it."""
    (workdir / "checkpoints" / str(step)).mkdir(parents=True)
    (workdir / "config.json").write_text("{}")
    lines = [
        {"step": 1, "split": "speed", "model_flops_per_second": 2e9},
        {"step": 2, "split": "speed", "model_flops_per_second": 3e9},
        {"step": 3, "split": "speed", "model_flops_per_second": 9e9},
        {"step": 1, "split": "held_out", "loss": 9.0},
        {"step": step, "split": "held_out", **metrics},
    ]
    (workdir / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_run_is_done_once_measured_and_saved(tmp_path):
    assert study.status(tmp_path / "none", 5) == study.NEW
    finished(tmp_path / "run", 5, loss=1.0)
    assert study.status(tmp_path / "run", 5) == study.DONE
    assert study.status(tmp_path / "run", 6) == study.BEGUN  # another budget's last step
    (tmp_path / "run" / "checkpoints" / "5").rmdir()  # killed between measuring and saving
    assert study.status(tmp_path / "run", 5) == study.BEGUN


def test_losses_come_from_the_finished_runs_last_step(tmp_path):
    finished(tmp_path / "a", 5, loss=1.5)
    rows = [{"name": "a", "num_steps": 5}, {"name": "b", "num_steps": 5}]
    assert study.losses(tmp_path, rows, "loss") == [{**rows[0], "loss": 1.5}]
    assert study.measured_rate(tmp_path / "a") == 3e9
    assert study.measured_rate(tmp_path / "b") is None
    with pytest.raises(errors.UserError, match="did you mean 'loss'"):
        study.losses(tmp_path, rows, "losss")
