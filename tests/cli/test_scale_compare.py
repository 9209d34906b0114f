"""`resgen scale compare`: trains and measures each method once, goes on, and makes one table."""

import json

import jax
import pytest
import tiny_features
from PIL import Image

from resgen_jax.convert import weights
from resgen_jax.core import errors
from resgen_jax.runs import train
from resgen_jax.runs.study import sweep

NETWORK = tiny_features.network(name="mobilenet", distance_name="FD-mobilenet")
PARAMS = NETWORK.init(jax.random.key(0))
CONFIG = "--config=comparisons/cifar10.py:tiny"


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """The tiny network in place of the one whose weights are not here."""
    monkeypatch.setattr(weights, "load_features", lambda name, directory: (NETWORK, PARAMS))
    monkeypatch.setattr(weights, "fingerprints", lambda name, directory: {"tiny": "0"})


@pytest.fixture
def command(runs, tmp_path):
    return (
        *("scale", "compare", CONFIG, f"--config.codes={runs.codes}", "--only=codes_*"),
        *(f"--workdir={tmp_path}", "--features=mobilenet", "--config.num_samples=16"),
    )


def test_what_is_done_is_not_done_again_and_all_of_it_stands_in_the_table(
    runs, tmp_path, command, monkeypatch
):
    done, measure, teach = [], sweep._measure, train.train
    monkeypatch.setattr(
        sweep, "_measure", lambda *a, **k: done.append("measured") or measure(*a, **k)
    )
    monkeypatch.setattr(train, "train", lambda *a, **k: done.append("trained") or teach(*a, **k))
    out = runs.succeed(*command)
    assert done == ["trained", "measured"]
    assert "best of each" in out
    runs.succeed(*command)
    assert done == ["trained", "measured"]
    runs.succeed(*command, "--config.sampling_seeds=(0,1)")
    assert done == ["trained", "measured", "measured"]

    found = json.loads((tmp_path / "comparison.json").read_text())
    drawn = [row for row in found["rows"] if row["method"] == "codes"]
    assert [row["sampling_seed"] for row in drawn] == [0, 1]
    joined, *known = found["by_setting"]
    values = [row["FD-mobilenet"] for row in drawn]
    assert joined["FD-mobilenet"] == pytest.approx(sum(values) / 2)
    assert joined["nats_are"] == "bound"
    assert joined["nats"] == drawn[0]["nats"] > 0
    assert joined["calls"] == 2
    real, rebuilt, mean = known
    assert real["FD-mobilenet"] < mean["FD-mobilenet"]
    assert real["FD-mobilenet"] < rebuilt["FD-mobilenet"]
    assert mean["class_agreement"] <= real["class_agreement"]
    assert real["calls"] is None
    assert "| codes |" in (tmp_path / "comparison.md").read_text()
    assert (tmp_path / "reference_mobilenet_train.npz").exists()  # once for all runs
    assert not list((tmp_path / "runs").glob("*/reference_*"))
    with Image.open(tmp_path / "comparison.png") as picture:
        assert min(picture.size) > 300


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--only=nothing*",), "no run is named 'nothing*'"),
        (("--config.codes=",), "codes is empty; write codes with"),
        (("--config.seeds=(1,1)",), "seeds is (1, 1); expected one or more, none twice"),
        (("--config.num_samples=0",), "num_samples is 0"),
        (("--config=scaling/resgen_digits.py",), "is no comparison (it has no methods)"),
        (("--config.methods.codes.fields.model.hat=1",), "has no field"),
    ],
)
def test_mistakes_are_told_in_one_line_before_anything_is_trained(
    runs, tmp_path, command, arguments, message
):
    code, _, err = runs.resgen(*command, *arguments)
    assert code == 2, err
    assert message in err
    assert not (tmp_path / "runs").exists()


def test_missing_weights_are_told_before_anything_is_trained(runs, tmp_path, command, monkeypatch):
    def load(name, directory):
        raise errors.UserError(f"the weights of {name} are not here")

    monkeypatch.setattr(weights, "load_features", load)
    code, _, err = runs.resgen(*command)
    assert code == 2
    assert "the weights of mobilenet are not here" in err
    assert not (tmp_path / "runs").exists()
