"""What a page of help says without importing it is what stands there."""

import importlib
from collections.abc import Mapping

import pytest

from resgen_jax import recipes
from resgen_jax.cli import known, sampler_flags
from resgen_jax.generators import calibration, choices, confidence, proposals, resgen_sampler_spec
from resgen_jax.processes import mask_schedules, masks
from resgen_jax.samplers import guidance, order, remasking


@pytest.mark.parametrize("name", known.ORIGINS)
def test_names_and_defaults_are_those_of_their_origin(name):
    module, _, attribute = known.ORIGINS[name].rpartition(".")
    origin = getattr(importlib.import_module(f"resgen_jax.{module}"), attribute)
    assert getattr(known, name) == (tuple(origin) if isinstance(origin, Mapping) else origin)


def test_every_name_has_an_origin():
    assert {name for name in vars(known) if name.isupper()} == {*known.ORIGINS, "ORIGINS"}


def test_choices_of_the_sampler_are_names_of_functions():
    functions = {
        "proposal": proposals.KINDS,
        "confidence": confidence.KINDS,
        "masks": order.PICKS,
        "order": order.ORDERS,
        "remask": ("none", *remasking.KINDS),
        "calibration": calibration.KINDS,
        "mask_schedule": mask_schedules.SCHEDULES,
        "order_noise_decay": order.DECAYS,
        "guidance_schedule": guidance.SCHEDULES,
    }
    found = {name: list(kinds) for name, kinds in resgen_sampler_spec.CHOICES.items()}
    assert found == {name: list(table) for name, table in functions.items()}
    assert set(masks.KINDS) == set(choices.KINDS["masks"])


@pytest.mark.parametrize("name", recipes.NAMES)
def test_flags_of_samplers_are_the_fields_of_the_recipes(name):
    recipe, sampler = recipes.find(name), recipes.SAMPLERS[name]
    assert recipe.name == name
    assert recipe.sampler is (sampler and sampler.Spec)
    if sampler is not None:
        chosen = {f"sampler.{field}": kinds for field, kinds in sampler.CHOICES.items()}
        assert chosen.items() <= dict(recipe.choices).items()
        assert set(sampler.Spec.__dataclass_fields__) <= set(sampler_flags.names())
