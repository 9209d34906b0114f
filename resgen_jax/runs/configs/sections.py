"""A ConfigDict out of a config file, made complete, so that every field can be set and checked."""

import dataclasses
import typing
from typing import Any, cast

import ml_collections

from resgen_jax import recipes
from resgen_jax.core import build, errors
from resgen_jax.recipes import configs, interface


def complete(config: ml_collections.ConfigDict) -> None:
    """Adds what the config leaves out, so that it says all and every field can be set.

    Raises UserError for an unknown task or section, naming the nearest.
    """
    recipe = recipes.find(config.get("task", ""))
    sections = _sections_of(recipe, config)
    with config.unlocked():
        config.seed = config.get("seed", 0)
        for section, cls in sections.items():
            if section not in config:
                config[section] = ml_collections.ConfigDict()
            _check_section(config[section], section)
            _fill(recipe, config[section], section, cls)


def freeze(config: ml_collections.ConfigDict) -> Any:
    """The config as `recipes.configs` has it; UserError for a field that it cannot be."""
    return configs.freeze(config.to_dict())


def number_per_step(config: ml_collections.ConfigDict, field: str) -> type | None:
    """int or float where `field`, written a.b, takes one number or one for each step."""
    section, *names = field.split(".")
    task = config.get("task")
    hint: Any = recipes.find(task).sections.get(section) if task in recipes.NAMES else None
    for name in names:
        hint = typing.get_type_hints(hint).get(name) if dataclasses.is_dataclass(hint) else None
    options = typing.get_args(hint)
    is_per_step = len(options) == 2 and typing.get_origin(options[1]) is tuple
    return options[0] if is_per_step else None


def _sections_of(recipe: interface.Recipe, config: ml_collections.ConfigDict) -> dict[str, type]:
    """The sections that a config has to have, and those of the others that it has."""
    known = [*recipe.sections, *recipe.optional, *configs.SCALARS]
    for field in config:
        if field not in known:
            hint = build.nearest(str(field), known)
            raise errors.UserError(f"the config has a section {field!r}; {hint}")
    optional = {section: cls for section, cls in recipe.optional.items() if section in config}
    return {**recipe.sections, **optional}


def _fill(
    recipe: interface.Recipe, fields: ml_collections.ConfigDict, where: str, cls: type
) -> None:
    """Defaults of the dataclass where a field is missing; whole numbers become floats by type."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if (where, field.name) in recipe.taken_from and field.name not in fields:
            continue
        if dataclasses.is_dataclass(hints[field.name]):
            if field.name not in fields:
                fields[field.name] = ml_collections.ConfigDict()
            _check_section(fields[field.name], f"{where}.{field.name}")
            default: Any = field.default
            if dataclasses.is_dataclass(default):
                for name, value in dataclasses.asdict(cast(Any, default)).items():
                    fields[field.name][name] = fields[field.name].get(name, value)
            _fill(recipe, fields[field.name], f"{where}.{field.name}", hints[field.name])
        elif field.name not in fields:
            if field.default is not dataclasses.MISSING:
                fields[field.name] = field.default
        elif _is_float(hints[field.name]) and type(fields[field.name]) is int:
            value = float(fields[field.name])
            del fields[field.name]  # a ConfigDict field keeps its type
            fields[field.name] = value


def _check_section(fields: Any, where: str) -> None:
    if not isinstance(fields, ml_collections.ConfigDict):
        found = repr(fields)[:100]
        raise errors.UserError(f"config.{where} is {found}; expected the fields of a section")


def _is_float(hint: Any) -> bool:
    return hint is float or float in typing.get_args(hint)
