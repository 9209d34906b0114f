"""A sweep measures each point once, as `resgen evaluate` does, and goes on where it stopped."""

import json

import jax
import pytest
import tiny_features
from PIL import Image

from resgen_jax.convert import weights
from resgen_jax.runs import measuring
from resgen_jax.runs.study import sweep, sweep_results

NETWORK = tiny_features.network(name="mobilenet", distance_name="FD-mobilenet")
PARAMS = NETWORK.init(jax.random.key(0))


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """The tiny network in place of the one whose weights are not here."""
    monkeypatch.setattr(weights, "load_features", lambda name, directory: (NETWORK, PARAMS))
    monkeypatch.setattr(weights, "fingerprints", lambda name, directory: {"tiny": "0"})


@pytest.fixture
def command(runs, tmp_path):
    return (
        *("evaluate", f"--workdir={runs.generator}", f"--output={tmp_path}"),
        *("--features=mobilenet", "--num_samples=30", "--batch_size=15"),
    )


GRID = ("--sweep=num_steps=1,2", "--sweep=guidance_scale=1,2")


def points(folder):
    lines = (folder / sweep_results.FILE).read_text().splitlines()
    return [json.loads(line) for line in lines]


def test_an_interrupted_sweep_goes_on_and_repeats_nothing(runs, tmp_path, command, monkeypatch):
    measured, first, append = [], [], sweep_results.append

    def interrupted(folder, line):
        append(folder, line)
        if len(points(tmp_path)) == 3:
            raise KeyboardInterrupt

    collect, first_batch = measuring.collect_samples, sweep._first_batch
    monkeypatch.setattr(
        measuring, "collect_samples", lambda *a, **k: measured.append(1) or collect(*a, **k)
    )
    monkeypatch.setattr(sweep, "_first_batch", lambda *a: first.append(1) or first_batch(*a))
    with monkeypatch.context() as patch:
        patch.setattr(sweep_results, "append", interrupted)
        code, _, err = runs.resgen(*command, *GRID)
    assert code == 130, err
    assert (len(points(tmp_path)), len(measured), len(first)) == (3, 3, 2)
    out = runs.succeed(*command, *GRID, "--budget=1000")
    assert (len(points(tmp_path)), len(measured)) == (4, 4)
    settings = [line["point"]["sampler"] for line in points(tmp_path)]
    pairs = {(each["num_steps"], each["guidance_scale"]) for each in settings}
    assert pairs == {(1, 1.0), (1, 2.0), (2, 1.0), (2, 2.0)}
    runs.succeed(*command, *GRID)
    assert len(measured) == 4
    best = min(points(tmp_path), key=lambda line: line["metrics"]["FD-mobilenet"])
    chosen = best["point"]["sampler"]
    flags = f"--num_steps={chosen['num_steps']} --guidance_scale={chosen['guidance_scale']}"
    assert flags in out
    assert out.index("FD-mobilenet") < out.index("best within")
    for name in (sweep_results.PICTURE, sweep_results.BY_STEPS):
        with Image.open(tmp_path / name) as picture:
            assert min(picture.size) > 300
    for line in points(tmp_path):
        assert line["network_calls"] == line["point"]["sampler"]["num_steps"]
        assert line["seconds_per_image"] > 0
        assert line["metrics"]["variety-mobilenet"] > 0
    # One of the points as a single evaluation measures it.
    again = tmp_path / "one" / "evaluate.json"
    single = (*command[:2], *command[3:], f"--output={again}", *flags.split())
    runs.succeed(*single)
    found = json.loads(again.read_text())["metrics"]
    assert found == pytest.approx(best["metrics"], rel=1e-4)
    # Another seed is another point.
    runs.succeed(*command, "--sweep=num_steps=1", "--seed=5")
    assert len(points(tmp_path)) == 5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--sweep=num_steps",), "--sweep is 'num_steps'; expected NAME=VALUES"),
        (("--sweep=num_step=1",), "did you mean 'num_steps'"),
        (("--sweep=num_steps=1,x",), "--sweep=num_steps has the value 'x'; expected ints"),
        (("--sweep=num_steps=1,999",), "999 sampling steps for 48 masked tokens"),
        (("--sweep=num_steps=0",), "num_steps is 0"),
        (("--sweep=num_steps=1", "--sweep=num_steps=2"), "names num_steps twice"),
        (("--sweep=num_steps=1", "--num_steps=2"), "--num_steps is fixed, but --sweep names it"),
        (("--budget=1",), "--budget needs --sweep"),
        (("--sweep", "--budget=0"), "--budget is 0.0; expected seconds above 0"),
    ],
)
def test_mistakes_are_told_in_one_line_before_anything_is_drawn(
    runs, tmp_path, command, arguments, message
):
    code, _, err = runs.resgen(*command, *arguments)
    assert code == 2, err
    assert message in err
    assert err.strip().splitlines()[-1].count("resgen evaluate") == 1
    assert not (tmp_path / sweep_results.FILE).exists()
