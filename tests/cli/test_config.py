"""Config: every field of every config has a meaning, and its choices are those that are taken."""

import dataclasses
import typing

import pytest

from resgen_jax import recipes
from resgen_jax.convert import weights
from resgen_jax.core import errors, fields
from resgen_jax.data import sources
from resgen_jax.recipes import on_images
from resgen_jax.runs import experiments
from resgen_jax.runs.configs import config_fields, configuration

BOTH = ("tokenizers/rq_vae_cifar10.py", "generators/resgen_imagenet256.py")  # with all sections
# Text that is no choice: names of places, files and projects.
FREE = {
    "data.path",
    "data.held_out_path",
    "data.class_names",
    "data.codes",
    "loss.weights",
    "evaluation.weights",
    "evaluation.tokenizer",
    "train.accept_data",
    "train.init_from",
    "train.local_checkpoints",
    "train.wandb_project",
}


def specs(cls):
    """A section's dataclass and those within it."""
    yield cls
    for hint in typing.get_type_hints(cls).values():
        if dataclasses.is_dataclass(hint):
            yield from specs(hint)


def all_fields(name):
    found = list(config_fields.of_config(configuration.load(name)))
    return [field for _, _, section in found for field in section]


def choices_of(name):
    return recipes.find(configuration.load(name).task).choices


@pytest.mark.parametrize("task", recipes.NAMES)
def test_every_field_of_every_section_has_a_meaning(task):
    recipe = recipes.find(task)
    for section in (*recipe.sections.values(), *recipe.optional.values()):
        for cls in specs(section):
            missing = [name for name, text in fields.meanings(cls).items() if not text]
            assert not missing, f"{cls.__module__}.{cls.__name__}: no comment says what these are"
            bases = [base for base in cls.__mro__ if dataclasses.is_dataclass(base)]
            told = {name for base in bases for name in fields.meanings(base)}
            assert told == {field.name for field in dataclasses.fields(cls)}


@pytest.mark.parametrize("name", BOTH)
def test_every_text_has_choices_or_is_free(name):
    found = {field.name: field for field in all_fields(name)}
    texts = {name for name, field in found.items() if isinstance(field.value, str)}
    assert texts - set(choices_of(name)) == texts & FREE
    assert all(field.kind and field.meaning for field in found.values())
    for field, kinds in choices_of(name).items():
        assert field not in found or found[field].value in kinds


def test_every_choice_is_of_a_field():
    found = {field.name for name in BOTH for field in all_fields(name)}
    assert {field for name in BOTH for field in choices_of(name)} | FREE <= found


def make(config):
    """All that looks at the fields of a config, short of its data."""
    if config.evaluation.features:
        weights.load_features(config.evaluation.features)
    if experiments.assumed(config).recipe.role is on_images.ROLE:
        sources.open_images(config.data)


@pytest.mark.parametrize("name", BOTH)
def test_what_is_not_among_the_choices_is_refused(name):
    for field in all_fields(name):
        if field.name in choices_of(name):
            wrong = "zzz" if isinstance(field.value, str) else "7"
            with pytest.raises(errors.UserError, match=wrong):
                make(configuration.load(name, [(field.name, wrong)]))


def test_the_verb_prints_each_field_as_it_is_set(place):
    name = "generators/resgen_mnist.py:tiny"
    out = place.succeed("config", name, "--config.sampler.top_p=0.9")
    assert out == place.succeed("config", f"--config={name}", "--config.sampler.top_p=0.9")
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert lines[0].startswith(f"{name}: task resgen; ")
    assert any(line.startswith("top_p=0.9 Draws are among the likeliest") for line in lines)
    assert "trunk.activation=silu Of the MLPs (gelu, relu, silu)" in lines
    assert any(line.startswith("has_code_head=false For the auxiliary") for line in lines)
    assert any(line.startswith("space: not in this config. Sizes of") for line in lines)


def test_without_a_file_it_lists_the_configs_of_the_package(place):
    out = place.succeed("config")
    assert "  tokenizers/rq_vae_mnist.py\n    RQ-VAE on 5,000 of MNIST's digits" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.py", "--config=b.py"], "two configs are named"),
        (["--config.seed=3"], "no config named"),
        (["tokenizers/rq_vae_minst.py"], "did you mean 'tokenizers/rq_vae_mnist.py'"),
        (["scaling/resgen_digits.py"], "is a scaling study"),
    ],
)
def test_mistakes_are_one_line(place, arguments, message):
    code, _, err = place.resgen("config", *arguments)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1


def test_a_config_of_a_user_begins_from_one_of_the_package(place):
    mine = place.folder / "mine.py"
    mine.write_text(
        "import resgen_jax\n\n\ndef get_config(arg=''):\n"
        "    config = resgen_jax.base_config('tokenizers/rq_vae_mnist.py:' + arg)\n"
        "    config.model.width = 24\n    return config\n"
    )
    found = configuration.load(f"{mine}:tiny")
    expected = configuration.load("tokenizers/rq_vae_mnist.py:tiny", [("model.width", "24")])
    assert dataclasses.replace(found, source="") == dataclasses.replace(expected, source="")
