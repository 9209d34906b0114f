"""Every field of a config in words: its value, the type or the choices it has, and its meaning."""

import dataclasses
import typing
from collections.abc import Iterator
from typing import Any, NamedTuple

from resgen_jax import recipes
from resgen_jax.core import fields
from resgen_jax.recipes import interface, shared

KINDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}


class Field(NamedTuple):
    """One line of the list."""

    name: str  # dotted, as in --config.NAME
    value: Any
    kind: str  # its type or its choices
    meaning: str


def of_config(config: Any) -> Iterator[tuple[str, str, list[Field]]]:
    """Name, summary and fields of each section that the config has."""
    recipe = recipes.find(config.task)
    yield "", "", [Field("seed", config.seed, KINDS[int], fields.meanings(shared.Scalars)["seed"])]
    for section, cls in {**recipe.sections, **recipe.optional}.items():
        spec = getattr(config, section)
        if spec is not None:
            yield section, fields.summary(cls), list(_of_section(recipe, spec, section))


def absent(config: Any) -> list[tuple[str, str]]:
    """Name and summary of each section that the config may have, but has not."""
    optional = recipes.find(config.task).optional
    return [
        (name, fields.summary(cls))
        for name, cls in optional.items()
        if getattr(config, name) is None
    ]


def _of_section(recipe: interface.Recipe, spec: Any, where: str) -> Iterator[Field]:
    hints = typing.get_type_hints(type(spec))
    for field in dataclasses.fields(spec):
        name, hint = f"{where}.{field.name}", hints[field.name]
        if (where, field.name) in recipe.taken_from:
            continue
        if dataclasses.is_dataclass(hint):
            yield from _of_section(recipe, getattr(spec, field.name), name)
            continue
        if name in recipe.choices:
            kind = ", ".join(_written(choice) for choice in recipe.choices[name])
        else:
            kind = _kind(hint)
        meaning = _meanings(type(spec)).get(field.name, "")
        yield Field(name, getattr(spec, field.name), kind, meaning)


def _meanings(cls: type) -> dict[str, str]:
    """Of the fields of a dataclass and of those that it is made from."""
    bases = [base for base in reversed(cls.__mro__) if dataclasses.is_dataclass(base)]
    return {name: text for base in bases for name, text in fields.meanings(base).items()}


def _kind(hint: Any) -> str:
    """A type in words: those of which configs are made."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        count = "" if Ellipsis in options else f"{len(options)} "
        return f"{count}{KINDS[options[0]]}s"
    if options:  # one, or one for each step
        return f"{_kind(options[0])}, or one for each step"
    return KINDS[hint]


def written(value: Any) -> str:
    """A value as it is set on the command line."""
    if isinstance(value, list | tuple):
        return f"({','.join(map(written, value))})"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else _written(value)


def _written(value: Any) -> str:
    return repr(value) if value == "" else str(value)
