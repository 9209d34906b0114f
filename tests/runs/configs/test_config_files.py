"""Config files: found by any name, run with their neighbours; what fails is told in one line."""

import dataclasses
import sys

import ml_collections
import pytest

from resgen_jax.core import errors
from resgen_jax.runs.configs import config_files, configuration, sections

HEAD = "from resgen_jax.runs.configs import configuration\n"
BODY = "    return configuration.read_file('tokenizers/rq_vae_digits.py:tiny')\n"
PLAIN = f"{HEAD}def get_config(arg=''):\n{BODY}"
WITHOUT_WORDS = f"{HEAD}def get_config():\n{BODY}"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Writes a file into the folder that the test is in."""
    monkeypatch.chdir(tmp_path)

    def make(name, text):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return name

    return make


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("no_words.py", WITHOUT_WORDS),
        ("plain.cfg", PLAIN),
        ("a:b/mine.py", PLAIN),
        ("a:b/mine.py:tiny", PLAIN),
        ("keyword.py", f"{HEAD}def get_config(*, arg=''):\n{BODY}"),
        (
            "frozen.py",
            f"{HEAD}import ml_collections\ndef get_config(arg):\n"
            "    config = configuration.read_file('tokenizers/rq_vae_digits.py:tiny')\n"
            "    config.data = ml_collections.FrozenConfigDict(config.data)\n"
            "    return ml_collections.FrozenConfigDict(config)\n",
        ),
        (
            "part_frozen.py",
            f"{HEAD}import ml_collections\ndef get_config(arg):\n"
            "    config = configuration.read_file('tokenizers/rq_vae_digits.py:tiny')\n"
            "    model = ml_collections.FrozenConfigDict(config.model)\n"
            "    with config.ignore_type():\n"
            "        config.model = model\n"
            "    return config\n",
        ),
    ],
)
def test_configs_as_others_write_them_load(write, name, text):
    write(name.removesuffix(":tiny"), text)
    config = configuration.load(name, [("model.width", "24")])
    assert config.model.width == 24
    assert config.source == name
    expected = configuration.load("tokenizers/rq_vae_digits.py:tiny", [("model.width", "24")])
    assert config == dataclasses.replace(expected, source=name)


def test_a_config_imports_its_neighbours_and_not_those_of_another_folder(write):
    for folder, seed in (("one", 1), ("two", 2)):
        write(f"{folder}/neighbour_sizes.py", f"SEED = {seed}\n")
        body = BODY.replace("return", "config =") + "    config.seed = neighbour_sizes.SEED\n"
        text = f"import neighbour_sizes\n{HEAD}def get_config(arg):\n{body}    return config\n"
        write(f"{folder}/mine.py", text)
    before = list(sys.path)
    assert [configuration.load(f"{name}/mine.py").seed for name in ("one", "two", "one")] == [
        1,
        2,
        1,
    ]
    assert sys.path == before
    assert "neighbour_sizes" not in sys.modules


def test_nothing_is_written_beside_a_config(write, tmp_path):
    write("plain.cfg", PLAIN)
    configuration.load("plain.cfg")
    assert [path.name for path in tmp_path.iterdir()] == ["plain.cfg"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.py:tiny", WITHOUT_WORDS, "get_config() in a.py takes no words, but 'tiny' stands"),
        ("a.py", "def get_config(arg, size):\n    pass\n", "get_config(arg, size) in a.py needs"),
        ("a.py", "get_config = {}\n", "a.py has no function get_config(arg)"),
        ("a.py", "\n\nimport no_such_module\n", "a.py line 3: ModuleNotFoundError: No module"),
        ("a.py", "def get_config(arg):\n    return 1 / 0\n", "a.py line 2: ZeroDivisionError"),
        (
            "a.py",
            "raise ValueError('\\x1b[2J\\nsecond')\n",
            "a.py line 1: ValueError: \\x1b[2J second",
        ),
        ("a.py", "x = '\0'\n", "a.py"),
        (
            "a.json",
            '{"task": true}',
            "a.json line 1: NameError: name 'true' is not defined; a config",
        ),
        ("a:b/c.py", None, "no config file 'a:b/c.py'"),
        ("a.py:tiny", None, "no config file 'a.py' here"),
        (".", None, "'.' is a folder; name a config file"),
        ("x" * 5000, None, "no config file 'xxx"),
    ],
)
def test_what_fails_in_a_config_is_told_in_one_line(write, name, text, message):
    if text is not None:
        write(name.removesuffix(":tiny"), text)
    with pytest.raises(errors.UserError) as info:
        config_files.read(name)
    assert str(info.value).startswith(message)
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("name", config_files.shipped())
def test_a_copy_of_a_shipped_config_is_the_same_config(name, write):
    """Wherever it lies, and whatever the files beside it are called."""
    for shared in ("common", "resgen", "rq_vae"):
        write(f"{shared}.py", "raise RuntimeError\n")
    copy = write("mine.py", config_files.find(name).read_text())
    assert config_files.read(copy).to_dict() == config_files.read(name).to_dict()


BASES = {"tokenizers/rq_vae_digits.py:tiny": None, "generators/resgen_digits.py:tiny": None}
NUMBERS = {
    "train.num_steps": ("-5", "0", "3e9", "nan", "many"),
    "train.stall_seconds": ("nan", "inf", "-1"),
    "data.batch_size": ("0", "-1", "1e12", "9" * 30),
    "data.num_threads": ("-1", "1e6"),
    "optimizer.learning_rate": ("nan", "inf", "-1e-3", "1e39", "quick"),
    "optimizer.b1": ("1", "-0.5", "nan"),
    "optimizer.num_microbatches": ("0",),
    "mesh.data": ("1e12", "two"),
    "seed": ("-1", "4294967296", "zero"),
    "task": ("gan",),
    "model.width": ("0", "-8", "1e12"),
    "model.num_res_blocks": ("1e6", "-1"),
    "model.multipliers": ("", "0", "1e9", "1,nan"),
    "model.code_dim": ("1e9",),
    "data.image_size": ("1e6", "0"),
    "quantizer.depth": ("0", "1e9"),
    "quantizer.learner": ("emu",),
    "loss.commitment_weight": ("nan",),
    "model.trunk.width": ("0", "-8", "1e12"),
    "model.trunk.num_layers": ("1e9",),
    "model.num_components": ("1e9",),
    "model.min_log_scale": ("nan",),
    "sampler.num_steps": ("0", "1e12"),
    "sampler.guidance_scale": ("nan", "1,nan"),
}


def has(config, field):
    for name in field.split("."):
        if not hasattr(config, name):
            return False
        config = getattr(config, name)
    return True


@pytest.mark.parametrize(("field", "texts"), NUMBERS.items())
def test_absurd_values_are_refused_by_name_before_anything_is_opened(field, texts):
    bases = [base for base in BASES if has(configuration.load(base), field)]
    assert bases
    for base in bases:
        for text in texts:
            with pytest.raises(errors.UserError) as info:
                configuration.load(base, [(field, text)])
            assert field.rpartition(".")[2] in str(info.value)
            assert "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("section", "field", "value"),
    [
        ("train", "num_steps", "300"),
        ("data", "batch_size", "16"),
        ("data", "batch_size", None),
        ("data", "batch_size", 16.5),
        ("model", "multipliers", 2),
        ("optimizer", "learning_rate", "1e-3"),
        ("quantizer", "learner", ("ema",)),
    ],
)
def test_values_of_another_kind_are_refused_by_name(section, field, value):
    config = config_files.read("tokenizers/rq_vae_digits.py:tiny")
    with config.ignore_type():
        config[section][field] = value
    sections.complete(config)
    with pytest.raises(errors.UserError, match=rf"{section}\.{field} is "):
        sections.freeze(config)


@pytest.mark.parametrize("name", ["gan", "", 3, ("rq_vae",)])
def test_an_unknown_task_is_told_with_those_that_are_known(name):
    with pytest.raises(errors.UserError, match="expected one of 'rq_vae', 'resgen'"):
        sections.complete(ml_collections.ConfigDict({"task": name}))
