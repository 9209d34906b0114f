"""A study from the command line: planned, run, stopped, gone on with, skipped and fitted."""

import json
import pathlib

import numpy as np
import pytest
from PIL import Image

from resgen_jax.cli import __main__ as cli
from resgen_jax.recipes import configs
from resgen_jax.runs import train
from resgen_jax.training import loop

STUDY = '''"""A study for tests."""
import ml_collections

def get_config(arg=""):
    def size(width):
        return {"model": {"trunk": {"width": width, "modulation_width": width}}}
    return ml_collections.ConfigDict({
        "base": "BASE",
        "fields": {"train": {"evaluate_every": 0, "checkpoint_every": 0}},
        "sizes": {"s": size(8), "m": size(16), "l": size(32)},
        "budgets": (32.0, 48.0), "unit": "examples", "metric": "loss",
    })
'''

SAME = "--config.sizes.m.model.trunk.modulation_width=8"


@pytest.fixture
def study(runs, tmp_path):
    """The flags of a study on the tiny codes."""
    file = tmp_path / "study.py"
    file.write_text(STUDY.replace("BASE", str(runs.generator_config)))
    return [f"--config={file}", f"--config.base.data.codes={runs.codes}"]


@pytest.fixture
def trained(monkeypatch):
    """Runs leave what training leaves, without it; the names of those that were trained."""
    names = []

    def leave(config, workdir, evaluators=()):
        workdir, steps = pathlib.Path(workdir), config.train.num_steps
        width = config.model.trunk.width
        (workdir / "checkpoints" / str(steps)).mkdir(parents=True)
        (workdir / "config.json").write_text(json.dumps(configs.thaw(config)))
        speed = {"step": 1, "split": "speed", "model_flops_per_second": 1e9}
        held_out = {"step": steps, "split": "held_out", "loss": 1 + 1 / width + 1 / steps}
        lines = [json.dumps(line) + "\n" for line in (speed, held_out)]
        (workdir / "metrics.jsonl").write_text("".join(lines))
        names.append(workdir.name)

    monkeypatch.setattr(train, "train", leave)
    return names


def test_a_plan_costs_every_run_before_it_is_made(place, study):
    output = place.folder / "plan.json"
    chip = ["--chip=TPU v5e", "--mfu=0.5"]
    out = place.succeed("scale", "plan", *study, *chip, f"--output={output}")
    found = json.loads(output.read_text())
    assert len(found["runs"]) == found["num_runs"] == 3 * 2
    assert {run["examples"] for run in found["runs"]} == {32, 48}
    assert {run["status"] for run in found["runs"]} == {"new"}
    for run in found["runs"]:
        assert run["chip_hours"] == pytest.approx(run["flops"] / (0.5 * 197e12) / 3600)
        assert run["name"] in out
    total = sum(run["flops"] for run in found["runs"])
    assert found["total_flops"] == pytest.approx(total)
    assert "unknown: give --chip" in place.succeed("scale", "plan", *study)


def test_a_study_is_run_gone_on_with_and_skipped(place, study, trained):
    workdir = f"--workdir={place.folder / 'study'}"
    place.succeed("scale", "run", *study, workdir, "--only=s_*")
    assert trained == ["s_32_seed0", "s_48_seed0"]
    out = place.succeed("scale", "plan", *study, workdir, f"--output={place.folder / 'plan.json'}")
    assert "rates measured by this study's runs" in out
    found = json.loads((place.folder / "plan.json").read_text())
    assert [run["status"] for run in found["runs"]].count("done") == 2
    left = sum(run["flops"] for run in found["runs"] if run["status"] == "new")
    assert found["chip_hours_left"] == pytest.approx(left / 1e9 / 3600)
    place.succeed("scale", "run", *study, workdir)
    assert len(trained) == len(set(trained)) == 6
    place.succeed("scale", "run", *study, workdir)
    assert len(trained) == 6
    code, _, err = place.resgen(
        "scale", "plan", *study, workdir, "--config.base.loss.smoothing=0.1"
    )
    assert code == 2
    assert "loss.smoothing is 0.01 there and 0.1 here" in err


def test_a_stopped_study_says_how_to_go_on(place, study, monkeypatch):
    def stop(*arguments, **keywords):
        raise loop.Stopped(3)

    monkeypatch.setattr(train, "train", stop)
    code, _, err = place.resgen("scale", "run", *study, f"--workdir={place.folder / 'study'}")
    assert code == cli.STOPPED
    assert "go on with: resgen scale run --config=" in err


def test_finished_runs_are_fitted_from_their_metrics_alone(place, study, trained):
    workdir = place.folder / "study"
    budgets = "--config.budgets=32,64,160"
    place.succeed("scale", "run", *study, budgets, f"--workdir={workdir}")
    place.succeed("scale", "fit", f"--workdir={workdir}", "--title=Tiny")
    found = json.loads((workdir / "fit.json").read_text())
    assert found["num_runs"] == "9 of 9"
    assert [row["number"] for row in found["numbers"]][-1] == "best_size_exponent"
    assert found["share_explained"] > 0.99
    assert np.asarray(Image.open(workdir / "fit.png")).std() > 0


@pytest.mark.slow
def test_real_runs_of_a_study_end_measured_and_saved(place, study):
    workdir = place.folder / "study"
    place.succeed("scale", "run", *study, f"--workdir={workdir}", "--only=s_32*")
    plan = place.folder / "plan.json"
    place.succeed("scale", "plan", *study, f"--workdir={workdir}", f"--output={plan}")
    states = {run["name"]: run["status"] for run in json.loads(plan.read_text())["runs"]}
    assert states.pop("s_32_seed0") == "done"
    assert set(states.values()) == {"new"}
    code, _, err = place.resgen("scale", "fit", f"--workdir={workdir}")
    assert code == 2
    assert "1 runs cannot determine the 5 numbers" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("plan",), "--config is missing"),
        (("fit",), "--workdir is missing"),
        (("fit", "--workdir=none"), "'none' is no study"),
        (("plan", "--config=generators/resgen_digits.py"), "is no scaling study"),
        (("count", "--config=scaling/resgen_digits.py"), "it is for `resgen scale plan`"),
    ],
)
def test_mistakes_are_told(place, arguments, message):
    code, _, err = place.resgen("scale", *arguments)
    assert code == 2
    assert message in err


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--chip=TPU v9",), "--chip is 'TPU v9'; did you mean"),
        (("--chip=TPU v5e",), "--mfu is missing"),
        (("--chip=TPU v5e", "--mfu=40"), "--mfu is 40; expected above 0 and at most 1"),
        (("--flops_per_second=0",), "--flops_per_second is 0; expected above 0"),
        (("--config.base.model.trunk.widht=8",), "did you mean 'width'"),
        (("--config.unit=flop",), "did you mean 'flops'"),
        (("--config.sizes.m.model.trunk.width=8", SAME), "all different"),
        (("--config.base.optimizer.warmup_steps=100",), "fewer than optimizer.warmup_steps 100"),
    ],
)
def test_a_plan_that_makes_no_sense_is_refused(place, study, flags, message):
    code, _, err = place.resgen("scale", "plan", *study, *flags)
    assert code == 2
    assert message in err
