"""Configuration: where a config is found, and how fields are set and refused."""

import pytest

from resgen_jax.cli import configuration
from resgen_jax.core import errors

CONFIG = '''"""A config for tests."""
import ml_collections

def get_config(arg=""):
    rate = ml_collections.FieldReference(1e-3)
    config = ml_collections.ConfigDict({
        "task": "none", "words": arg,
        "data": {"path": "", "batch_size": 4},
        "optimizer": {"learning_rate": rate, "final_rate": 0.1 * rate, "nesterov": False},
        "model": {"multipliers": (1, 2), "names": ("a",), "limit": None},
    })
    return config
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    return path


def test_words_after_the_colon_and_fields_reach_the_config(file):
    config = configuration.load(
        f"{file}:tiny,wide",
        [
            ("data.batch_size", "1e3"),
            ("optimizer.learning_rate", "2"),
            ("optimizer.nesterov", "yes"),
            ("model.multipliers", "(1, 2, 4)"),
            ("model.names", "x,y"),
            ("model.limit", "7"),
        ],
    )
    assert config.words == "tiny,wide"
    assert config.source == f"{file}:tiny,wide"
    assert config.data.batch_size == 1000
    assert isinstance(config.data.batch_size, int)
    assert config.optimizer.learning_rate == 2.0
    assert config.optimizer.final_rate == pytest.approx(0.2)  # a reference follows
    assert config.optimizer.nesterov is True
    assert config.model.multipliers == (1, 2, 4)
    assert config.model.names == ("x", "y")
    assert config.model.limit == 7


def test_single_value_makes_a_sequence_of_one(file):
    config = configuration.load(str(file), [("model.multipliers", "3"), ("model.names", "")])
    assert (config.model.multipliers, config.model.names) == ((3,), ())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("optimizer.learning_rat", "1", "config.optimizer has no field 'learning_rat'; did you"),
        ("optimiser.learning_rate", "1", "has no field 'optimiser'; did you mean 'optimizer'?"),
        ("optimizer", "1", "is a section; set one of its fields: final_rate, learning_rate"),
        ("data.batch_size.x", "1", "config.data.batch_size is a value, it has no fields"),
        ("data.batch_size", "3.5", "is '3.5'; expected an integer such as 4"),
        ("data.batch_size", "inf", "expected an integer"),
        ("data.batch_size", "four", "expected an integer"),
        ("optimizer.learning_rate", "fast", "is 'fast'; expected a number such as 0.001"),
        ("optimizer.nesterov", "maybe", "expected true or false"),
        ("model.multipliers", "1,two", "expected a comma-separated list such as (1, 2)"),
    ],
)
def test_wrong_fields_are_refused_in_one_line(file, field, value, message):
    with pytest.raises(errors.UserError) as info:
        configuration.load(str(file), [(field, value)])
    assert message in str(info.value)
    assert str(info.value).startswith(f"--config.{field}")


def test_paths_become_absolute_so_that_they_hold_from_anywhere(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configuration.load("mine.py", [("data.path", "photos/../images")])
    assert config.data.path == str(tmp_path / "images")
    assert configuration.load("mine.py").data.path == ""


def test_shipped_configs_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("tokenizers/rq_vae_digits.py", "configs/tokenizers/rq_vae_digits.py"):
        assert configuration.find(name).is_file()
    own = tmp_path / "tokenizers" / "rq_vae_digits.py"
    own.parent.mkdir()
    own.write_text(CONFIG)
    assert configuration.find("tokenizers/rq_vae_digits.py").samefile(own)
    with pytest.raises(errors.UserError, match="did you mean 'tokenizers/rq_vae_digits.py'"):
        configuration.find("rqvae_digits.py")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def get_config(:\n", "bad.py line 1: "),
        ("x = 1\n", "has no function get_config"),
        ("def get_config(arg):\n    return {}\n", "returned dict; expected a ConfigDict"),
    ],
)
def test_broken_config_files_are_told_in_one_line(tmp_path, text, message):
    (tmp_path / "bad.py").write_text(text)
    with pytest.raises(errors.UserError) as info:
        configuration.load(str(tmp_path / "bad.py"))
    assert message in str(info.value)
