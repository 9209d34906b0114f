"""train.init_from: a run begun from another run's or an export's parameters, with own settings."""

import re
import shutil

import pytest

from resgen_jax.core import errors, trees
from resgen_jax.runs import experiments, open_run, run_directory, starting_point
from resgen_jax.runs.configs import configuration
from resgen_jax.training.telemetry import writer


def open_experiment(place, config_file, workdir, notes=None, **fields):
    config = configuration.load(str(config_file), list(fields.items()))
    notes = [] if notes is None else notes
    return config, experiments.open_experiment(config, workdir, notes.append)


def first_params(config, experiment):
    state = experiment.begin(experiment.task, experiment.mesh, config.seed)
    return trees.named_leaves(state.params), trees.named_leaves(state.average_params), state


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/runs/a", ("/runs/a", None)),
        ("/runs/a@2000", ("/runs/a", 2000)),
        ("/runs/a@b", ("/runs/a@b", None)),
        ("gs://bucket/a@7", ("gs://bucket/a", 7)),
        ("@7", ("@7", None)),
    ],
)
def test_a_run_and_a_step_are_told_apart(text, expected):
    assert starting_point.parse(text) == expected


def test_a_folder_named_so_comes_before_a_step(tmp_path):
    (tmp_path / "a@7").mkdir()
    assert starting_point.parse(str(tmp_path / "a@7")) == (str(tmp_path / "a@7"), None)


@pytest.mark.parametrize("source", ["run", "export"])
def test_a_generator_begins_from_a_run_or_its_export(runs, place, source):
    origin = runs.generator
    if source == "export":
        origin = place.folder / "export"
        place.succeed(
            "convert", f"--workdir={runs.generator}", "--to=safetensors", f"--output={origin}"
        )
    notes = []
    fields = {"data.codes": str(runs.codes), "train.init_from": str(origin), "seed": "9"}
    fields |= {"optimizer.learning_rate": "1e-5", "train.num_steps": "2"}
    config, experiment = open_experiment(
        place, place.generator_config, place.generator, notes, **fields
    )
    expected = trees.named_leaves(open_run.open_generator(runs.generator, notes.append).params)
    params, average, state = first_params(config, experiment)
    assert expected.keys() == params.keys()
    assert all((expected[name] == params[name]).all() for name in expected)
    assert all((expected[name] == average[name]).all() for name in expected)
    assert int(state.step) == 0
    assert f"begins with the parameters of {origin} at step 0; the optimizer is new" in notes


def test_a_tokenizer_with_another_learning_rate_begins_from_a_trained_one_and_goes_on(
    place, monkeypatch
):
    train = ("train", f"--config={place.tokenizer_config}")
    place.succeed(*train, f"--workdir={place.tokenizer}")
    whole, parts = place.folder / "whole", place.folder / "parts"
    changed = "--config.optimizer.learning_rate=1e-5"
    code, _, err = place.resgen(*train, f"--workdir={place.tokenizer}", changed)
    assert code == 2
    assert f"another --workdir with --config.train.init_from={place.tokenizer}" in err
    new = (*train, changed, f"--config.train.init_from={place.tokenizer}")
    _, _, err = place.resgen(*new, f"--workdir={whole}")
    assert f"begins with the parameters of {place.tokenizer} at step 6" in err

    def losses(workdir, split):
        lines = [line for line in writer.read(workdir) if line["split"] == split]
        return {line["step"]: line["loss"] for line in lines}

    # With hardly a learning rate it stays as good as what it began with.
    reached = losses(place.tokenizer, "held_out")[6]
    assert losses(whole, "held_out")[6] == pytest.approx(reached, rel=0.2)

    place.stop_after(2, *new, f"--workdir={parts}")
    # It has what it needs; and it stays the run that it is.
    shutil.rmtree(place.tokenizer)
    code, _, err = place.resgen(*train, changed, f"--workdir={parts}")
    assert code == 2
    assert f"train.init_from is '{place.tokenizer}' there and '' here" in err
    _, _, err = place.resgen(*new, f"--workdir={parts}")
    assert "begins with" not in err
    for split in ("train", "held_out"):
        assert losses(parts, split) == losses(whole, split)


def test_what_cannot_be_begun_from_is_told_before_anything_is_written(runs, place):
    def message(config_file=place.generator_config, **fields):
        with pytest.raises(errors.UserError) as info:
            open_experiment(place, config_file, place.folder / "new", **fields)
        assert not (place.folder / "new").exists()
        return str(info.value)

    own = {"data.codes": str(runs.codes), "train.init_from": str(runs.generator)}
    assert "'/nowhere' is not a run directory" in message(**own | {"train.init_from": "/nowhere"})
    assert "this needs one of 'resgen'" in message(**own | {"train.init_from": str(runs.tokenizer)})
    text = message(**own | {"train.init_from": f"{runs.generator}@7"})
    assert "of step 7, but it holds those of steps 0" in text
    text = message(**own | {"model.trunk.width": "32"})
    assert "train.init_from: the run in" in text
    assert re.search(r"has another architecture: \S+ is float32\[\S+ there, float32\[", text)
    text = message(**own | {"train.init_from": str(place.folder / "new")})
    assert "the run's own --workdir, which has no checkpoint" in text
    text = message(place.tokenizer_config, **{"train.init_from": str(runs.tokenizer)})
    assert "is at step 0, and its codebooks begin at loss.start_step 2" in text


def test_a_run_of_before_the_field_goes_on(runs, place):
    """And nothing in it is begun again."""
    workdir = shutil.copytree(runs.generator, place.generator)
    config = run_directory.read_fields(workdir)
    del config["train"]["init_from"], config["train"]["accept_data"]
    run_directory.write_json(workdir / run_directory.FILE, config)
    fields = {"data.codes": str(runs.codes)}
    open_experiment(place, place.generator_config, workdir, **fields)
    with pytest.raises(errors.UserError, match="train.init_from is '' there and '/else' here"):
        open_experiment(
            place, place.generator_config, workdir, **fields | {"train.init_from": "/else"}
        )
