"""Configuration: where a config is found, and how fields are set and refused."""

import ml_collections
import pytest

from resgen_jax.core import errors
from resgen_jax.runs.configs import config_files, configuration

CONFIG = '''"""A config for tests."""
import ml_collections

def get_config(arg=""):
    rate = ml_collections.FieldReference(1e-3)
    return ml_collections.ConfigDict({
        "task": "resgen",
        "seed": len(arg),
        "data": {"codes": "", "batch_size": 4},
        "optimizer": {"learning_rate": rate, "weight_decay": 0.1 * rate},
        "loss": {"code_loss_weight": 1},
        "train": {"num_steps": 3},
    })
'''


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(CONFIG)
    return path


@pytest.fixture
def config():
    return ml_collections.ConfigDict(
        {
            "data": {"batch_size": 4, "path": "here"},
            "optimizer": {"learning_rate": 1e-3, "nesterov": False},
            "model": {"multipliers": (1, 2), "names": ("a",), "rates": (0.5,), "limit": None},
        }
    )


def test_words_after_the_colon_and_fields_reach_the_config(file):
    config = configuration.load(
        f"{file}:tiny,wide",
        [
            ("optimizer.learning_rate", "2"),
            ("loss.code_loss_weight", "0.5"),
            ("model.trunk.num_layers", "7"),
        ],
    )
    assert config.seed == len("tiny,wide")
    assert config.source == f"{file}:tiny,wide"
    assert config.optimizer.learning_rate == 2.0
    assert config.optimizer.weight_decay == pytest.approx(0.2)  # a reference follows
    assert config.loss.code_loss_weight == 0.5  # written 1 in the file, a float by its type
    assert config.model.trunk.num_layers == 7  # not in the file at all


@pytest.mark.parametrize("seed", ["-1", str(2**32 + 5), "9" * 20])
def test_seeds_of_which_a_part_would_be_used_are_refused(file, seed):
    with pytest.raises(errors.UserError, match=f"config.seed is {seed}; expected .*to 4294967295"):
        configuration.load(str(file), [("seed", seed)])
    file.write_text(CONFIG.replace("len(arg)", "0.5"))
    with pytest.raises(errors.UserError, match=r"config.seed is 0.5 \(float\); expected int"):
        configuration.load(str(file))


def test_a_number_of_the_sampler_may_be_one_for_each_step(file):
    field = "sampler.guidance_scale"
    for texts, expected in ((["1,1.5,2"], (1.0, 1.5, 2.0)), (["(1, 2)", "1.5"], 1.5)):
        config = configuration.load(
            str(file), [("sampler.num_steps", "3"), *((field, text) for text in texts)]
        )
        assert config.sampler.guidance_scale == expected
    config = configuration.load(str(file), [("sampler.top_k", "3,0"), ("sampler.num_steps", "2")])
    assert config.sampler.top_k == (3, 0)
    with pytest.raises(errors.UserError, match="sampler.top_k is '3,0.5'; expected an integer"):
        configuration.load(str(file), [("sampler.top_k", "3,0.5")])
    with pytest.raises(errors.UserError, match="guidance_scale has 2 entries for 8 steps"):
        configuration.load(str(file), [(field, "1,2")])


@pytest.mark.parametrize(
    ("field", "text", "expected"),
    [
        ("data.batch_size", "1e3", 1000),
        ("data.batch_size", "-7", -7),
        ("data.path", "1e3", "1e3"),
        ("optimizer.learning_rate", "2", 2.0),
        ("optimizer.nesterov", "yes", True),
        ("optimizer.nesterov", "False", False),
        ("model.multipliers", "(1, 2, 4)", (1, 2, 4)),
        ("model.multipliers", "3", (3,)),
        ("model.names", "x,y", ("x", "y")),
        ("model.names", "", ()),
        ("model.rates", "1,2", (1.0, 2.0)),
        ("model.limit", "7", 7),
        ("model.limit", "none of them", "none of them"),
    ],
)
def test_text_is_read_as_the_type_that_is_there(config, field, text, expected):
    configuration.override(config, field, text)
    section, name = field.split(".")
    assert config[section][name] == expected
    assert type(config[section][name]) is type(expected)


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("optimizer.learning_rat", "1", "config.optimizer has no field 'learning_rat'; did you"),
        ("optimiser.learning_rate", "1", "has no field 'optimiser'; did you mean 'optimizer'?"),
        ("optimizer", "1", "is a section; set one of its fields: learning_rate, nesterov"),
        ("data.batch_size.x", "1", "config.data.batch_size is a value, it has no fields"),
        ("data.batch_size", "3.5", "is '3.5'; expected an integer such as 4"),
        ("data.batch_size", "inf", "expected an integer"),
        ("data.batch_size", "four", "expected an integer"),
        ("optimizer.learning_rate", "fast", "is 'fast'; expected a number such as 0.001"),
        ("optimizer.nesterov", "maybe", "expected true or false"),
        ("model.multipliers", "1,two", "expected a comma-separated list such as (1, 2)"),
    ],
)
def test_wrong_fields_are_refused_in_one_line(config, field, value, message):
    with pytest.raises(errors.UserError) as info:
        configuration.override(config, field, value)
    assert message in str(info.value)
    assert str(info.value).startswith(f"--config.{field}")


def test_paths_become_absolute_so_that_they_hold_from_anywhere(file, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = configuration.load("mine.py", [("data.codes", "runs/../codes")])
    assert config.data.codes == str(tmp_path / "codes")
    assert configuration.load("mine.py").data.codes == ""


def test_every_path_of_a_config_is_made_absolute_and_knows_the_home(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    fields = [(f"{section}.{field}", f"~/{field}") for section, field in configuration.PATHS]
    for kind in ("tokenizers/rq_vae_folder.py", "generators/resgen_folder.py"):
        config = configuration.load(kind)
        known = [(name, text) for name, text in fields if has_field(config, *name.split("."))]
        config = configuration.load(kind, known)
        for name, _ in known:
            section, field = name.split(".")
            assert getattr(getattr(config, section), field) == str(tmp_path / "home" / field)
    config = configuration.load(
        "tokenizers/rq_vae_folder.py",
        [("data.held_out_path", "val"), ("data.class_names", "../names.txt")],
    )
    assert config.data.held_out_path == str(tmp_path / "val")
    assert config.data.class_names == str(tmp_path.parent / "names.txt")


def has_field(config, section, field):
    return hasattr(getattr(config, section, None), field)


def test_shipped_configs_are_found_from_anywhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("tokenizers/rq_vae_digits.py", "configs/tokenizers/rq_vae_digits.py"):
        assert config_files.find(name).is_file()
    own = tmp_path / "tokenizers" / "rq_vae_digits.py"
    own.parent.mkdir()
    own.write_text(CONFIG)
    assert config_files.find("tokenizers/rq_vae_digits.py").samefile(own)
    with pytest.raises(errors.UserError, match="did you mean 'tokenizers/rq_vae_digits.py'"):
        config_files.find("rqvae_digits.py")


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
