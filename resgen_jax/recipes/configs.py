"""A run's config below its files: one frozen dataclass a recipe, complete and checked."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

from resgen_jax import recipes
from resgen_jax.core import build, errors
from resgen_jax.recipes import interface, shared

SCALARS = tuple(field.name for field in dataclasses.fields(shared.Scalars))


@functools.cache
def type_of(name: str) -> type:
    """The dataclass of the configs of a recipe: its scalars, then a frozen spec a section.

    A section that the recipe may have or not is None where it is absent.
    """
    recipe = recipes.find(name)
    fields: list[Any] = [(section, cls) for section, cls in recipe.sections.items()]
    fields += [
        (section, cls | None, dataclasses.field(default=None))
        for section, cls in recipe.optional.items()
    ]
    words = [part.capitalize() for part in name.split("_")]
    return dataclasses.make_dataclass(
        f"{''.join(words)}Config", fields, bases=(shared.Scalars,), frozen=True, kw_only=True
    )


def freeze(fields: Mapping[str, Any]) -> Any:
    """The config with these nested fields; what they leave out has its default.

    Raises UserError for what no config of its task can be, by the name of the field.
    """
    recipe = recipes.find(fields.get("task", ""))
    scalars = build.build(
        shared.Scalars, {name: fields[name] for name in SCALARS if name in fields}, "config"
    )
    known = {**recipe.sections, **recipe.optional}
    for name in fields:
        if name not in known and name not in SCALARS:
            hint = build.nearest(str(name), [*known, *SCALARS])
            raise errors.UserError(f"the config has a section {name!r}; {hint}")
    specs = {
        section: _section(recipe, fields, section, cls)
        for section, cls in known.items()
        if section in fields or section in recipe.sections
    }
    return type_of(recipe.name)(**dataclasses.asdict(scalars), **specs)


def thaw(config: Any) -> dict[str, Any]:
    """The nested fields of a config, as `freeze` takes them."""
    recipe = recipes.find(config.task)
    fields: dict[str, Any] = {"task": config.task, "seed": config.seed, "source": config.source}
    if config.synthetic_data:
        fields["synthetic_data"] = True
    for section in (*recipe.sections, *recipe.optional):
        spec = getattr(config, section)
        if spec is not None:
            own = dataclasses.asdict(spec)
            fields[section] = {
                name: value
                for name, value in own.items()
                if (section, name) not in recipe.taken_from
            }
    return fields


def change(config: Any, changes: Mapping[str, Any]) -> Any:
    """The config with other values of fields that are named by dots; all is checked anew."""
    fields = thaw(config)
    for name, value in changes.items():
        *path, last = name.split(".")
        node = fields
        for part in path:
            node = node.setdefault(part, {})
        node[last] = value
    return freeze(fields)


def _section(recipe: interface.Recipe, fields: Mapping[str, Any], section: str, cls: type) -> Any:
    own = fields.get(section, {})
    if not isinstance(own, Mapping):
        raise errors.UserError(f"config.{section} is {own!r}; expected the fields of a section")
    own = dict(own)
    names = {field.name for field in dataclasses.fields(cls)}
    for (where, name), origin in recipe.taken_from.items():
        if where == section and name in names:
            if name in own:
                raise errors.UserError(f"{section}.{name} is taken from {origin}; set that instead")
            own[name] = _origin(recipe, fields, origin)
    return build.build(cls, own, section)


def _origin(recipe: interface.Recipe, fields: Mapping[str, Any], origin: str) -> Any:
    """The value that another field has, or its default."""
    section, _, name = origin.partition(".")
    own = fields.get(section, {})
    if isinstance(own, Mapping) and name in own:
        return own[name]
    defaults = {field.name: field.default for field in dataclasses.fields(recipe.sections[section])}
    if defaults.get(name, dataclasses.MISSING) is dataclasses.MISSING:
        raise errors.UserError(f"{section} lacks the field {name!r}")
    return defaults[name]
