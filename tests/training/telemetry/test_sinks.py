"""All sinks get the same numbers; wandb is imported only where it is asked for."""

import json
import sys
import types

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.training.telemetry import sinks, writer


class Run:
    """What wandb.init returns, as far as it is used."""

    def __init__(self, **arguments):
        self.arguments, self.logged, self.is_finished = arguments, [], False
        self.metrics = {}

    def define_metric(self, name, step_metric):
        self.metrics[name] = step_metric

    def log(self, values):
        self.logged.append(values)

    def finish(self):
        self.is_finished = True


@pytest.fixture
def wandb(monkeypatch):
    """A stand-in for the package; the runs that were begun."""
    module, began = types.ModuleType("wandb"), []
    module.errors = types.SimpleNamespace(Error=type("Error", (Exception,), {}))
    module.init = lambda **arguments: began.append(Run(**arguments)) or began[-1]
    module.Image = np.asarray
    monkeypatch.setitem(sys.modules, "wandb", module)
    monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda name: module)
    return module, began


def test_wandb_gets_the_numbers_of_the_lines_and_goes_on_with_its_run(tmp_path, wandb):
    workdir = tmp_path / "digits"
    workdir.mkdir()
    (workdir / "config.json").write_text('{"seed": 3}')
    for restored in (0, 1):
        with writer.Writer(workdir, restored_step=restored, wandb_project="codes") as out:
            out.write(1 + restored, "train", {"loss": 0.5, "bad": float("nan")})
            out.write(1 + restored, "speed", {"mfu": 0.25})
    first, second = wandb[1]
    assert first.logged == [{"step": 1, "train/loss": 0.5}, {"step": 1, "speed/mfu": 0.25}]
    assert first.metrics == {"*": "step"}
    assert first.is_finished
    given = first.arguments
    assert (given["project"], given["name"], given["dir"]) == ("codes", "digits", str(workdir))
    assert (given["config"], given["resume"]) == ({"seed": 3}, "allow")
    assert second.arguments["id"] == given["id"] != ""
    assert [line["split"] for line in writer.read(workdir)] == ["train", "speed"] * 2
    assert writer.read(workdir)[0] == {"step": 1, "split": "train", "loss": 0.5, "bad": None}


def test_wandb_gets_the_pictures_in_gray_and_in_colour(tmp_path, wandb):
    pixels = np.random.default_rng(0).integers(0, 2, (4, 6, 3), np.uint8)
    with writer.Writer(tmp_path, wandb_project="codes") as out:
        out.show(4, "evaluation", {"colour": pixels, "gray": pixels[..., :1]})
    (logged,) = wandb[1][0].logged
    assert logged.keys() == {"step", "evaluation/colour", "evaluation/gray"}
    assert logged["step"] == 4
    np.testing.assert_array_equal(logged["evaluation/colour"], pixels)
    np.testing.assert_array_equal(logged["evaluation/gray"], pixels[..., 0])


def test_another_run_has_another_id(tmp_path, wandb):
    for name in ("one", "two"):
        writer.Writer(tmp_path / name, wandb_project="codes").close()
    one, two = wandb[1]
    assert one.arguments["id"] != two.arguments["id"]


def test_wandb_is_not_touched_unless_asked_for(tmp_path, wandb):
    with writer.Writer(tmp_path) as out:
        out.write(1, "train", {"loss": 1})
    with writer.Writer(tmp_path, is_on=False, wandb_project="codes") as out:
        out.write(1, "train", {"loss": 1})
    assert not wandb[1]


def test_a_missing_package_and_a_refused_login_are_one_line(tmp_path, wandb, monkeypatch):
    def refuse(**arguments):
        raise wandb[0].errors.Error("api_key not\nconfigured")

    wandb[0].init = refuse
    with pytest.raises(errors.UserError, match=r"api_key not configured.*WANDB_MODE=offline"):
        writer.Writer(tmp_path, wandb_project="codes")
    monkeypatch.setattr(sinks.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.UserError, match=r"pip install 'resgen_jax\[wandb\]'"):
        sinks.check_wandb("codes")
    sinks.check_wandb("")


def test_a_damaged_id_is_made_anew(tmp_path, wandb):
    (tmp_path / sinks.WANDB_FILE).write_text("{")
    writer.Writer(tmp_path, wandb_project="codes").close()
    kept = json.loads((tmp_path / sinks.WANDB_FILE).read_text())["id"]
    assert wandb[1][0].arguments["id"] == kept
