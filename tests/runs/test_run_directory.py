"""Run directories: the config survives the disk, and another config's run is refused."""

import copy

import pytest

from resgen_jax.core import errors
from resgen_jax.recipes import configs
from resgen_jax.runs import run_directory
from resgen_jax.runs.configs import configuration


@pytest.fixture
def config():
    fields = {"multipliers": "1,2", "width": "8"}
    overrides = [(f"model.{name}", value) for name, value in fields.items()]
    return configuration.load("tokenizers/rq_vae_digits.py", overrides)


def test_config_survives_the_disk_with_its_tuples(tmp_path, config):
    run_directory.start_or_continue(tmp_path / "run", config)
    assert run_directory.read(tmp_path / "run") == config


def test_how_long_and_where_may_change_but_not_what_is_learnt(tmp_path, config):
    run_directory.start_or_continue(tmp_path, config)
    changes = {"train.num_steps": 20, "train.log_every": 5, "mesh.data": 4}
    longer = configs.change(config, {**changes, "data.num_threads": 2, "source": "b.py:tiny"})
    run_directory.start_or_continue(tmp_path, longer)
    assert run_directory.read(tmp_path).train.num_steps == 20
    other = configs.change(longer, {"model.multipliers": (2, 2), "seed": 3})
    with pytest.raises(errors.UserError) as info:
        run_directory.start_or_continue(tmp_path, other)
    assert "model.multipliers is [1, 2] there and [2, 2] here; seed is 0 there" in str(info.value)
    assert run_directory.read(tmp_path).seed == 0


def test_new_and_missing_fields_count_as_differences(config):
    fields = run_directory.to_json(config)
    less = copy.deepcopy(fields)
    del less["model"]["multipliers"]
    assert run_directory.differences(less, fields) == [
        "model.multipliers is None there and [1, 2] here"
    ]
    assert run_directory.differences(fields, fields) == []


def test_what_is_no_run_directory_is_told(tmp_path, config):
    with pytest.raises(errors.UserError, match="not a run directory"):
        run_directory.read(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(errors.UserError, match=r"config.json is damaged"):
        run_directory.read(tmp_path)
    run_directory.write_json(tmp_path / "config.json", run_directory.to_json(config))
    with pytest.raises(errors.UserError, match="task 'rq_vae', but this needs one of 'resgen'"):
        run_directory.read(tmp_path, "resgen")


def test_place_that_cannot_be_written_is_the_users_error(tmp_path, config):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.UserError, match="cannot write"):
        run_directory.start_or_continue(tmp_path / "file" / "run", config)


@pytest.mark.parametrize("value", [7, "x", None, [1]])
def test_what_is_no_section_is_refused_in_one_line(tmp_path, value):
    fields = {"task": "resgen", "data": {"batch_size": 1}, "model": {"trunk": value}}
    run_directory.write_json(tmp_path / "config.json", fields)
    with pytest.raises(errors.UserError, match=r"model\.trunk is .*; expected the fields"):
        run_directory.read(tmp_path)
