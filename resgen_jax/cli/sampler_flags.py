"""The settings of samplers as flags: those of all generators, out of the fields of their specs."""

import argparse
import dataclasses
import functools
import typing
from typing import Any

from resgen_jax import recipes
from resgen_jax.cli import flags, known
from resgen_jax.core import fields

LISTS = {float: flags.numbers, int: flags.whole_numbers}


def add_labels(parser: flags.Parser) -> None:
    """--labels."""
    parser.add_argument(
        "--labels",
        choices=known.LABELS,
        default="balanced",
        help="balanced: the classes in turn; random: each drawn by itself (%(default)s)",
    )


def add_guide(parser: flags.Parser) -> None:
    """--guide."""
    parser.add_argument(
        "--guide",
        metavar="DIR[@STEP]",
        help="guidance leads away from this weaker model, an earlier step or a run begun from this "
        "one, and not from no class",
    )


def add(parser: flags.Parser) -> None:
    """A flag for each setting that some generator's sampler has."""
    group = parser.add_argument_group(
        "the sampler, as in the run's config where not given",
        "A list like 1,1.5,2 gives each step its own value. A generator has some of them.",
    )
    for name, (hint, meaning) in _settings().items():
        group.add_argument(f"--{name}", type=_parser_of(hint), help=meaning.replace("%", "%%"))


def _parser_of(hint: Any) -> Any:
    """What reads a flag of this type: one value, one for each step, or a tuple of numbers."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        return flags.integers if options[0] is int else flags.numbers
    return LISTS[options[0]] if options else hint


def hints() -> dict[str, Any]:
    """The type of each setting that some generator's sampler has."""
    return {name: hint for name, (hint, _) in _settings().items()}


def names() -> tuple[str, ...]:
    """Names of all the flags that `add` adds."""
    return tuple(_settings())


def read(values: argparse.Namespace) -> dict[str, Any]:
    """What was given; None where nothing was."""
    return {name: getattr(values, name) for name in names()}


@functools.cache
def _settings() -> dict[str, tuple[Any, str]]:
    """Type and meaning of each, of the samplers of all generators; the first that has it says."""
    found: dict[str, tuple[Any, str]] = {}
    for sampler in filter(None, recipes.SAMPLERS.values()):
        hints, meanings = typing.get_type_hints(sampler.Spec), fields.meanings(sampler.Spec)
        for field in dataclasses.fields(sampler.Spec):
            meaning = meanings.get(field.name, "")
            if kinds := sampler.CHOICES.get(field.name):
                meaning = f"{meaning}: {', '.join(kinds)}"
            found.setdefault(field.name, (hints[field.name], meaning))
    return found
