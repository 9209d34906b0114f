"""Flags of `resgen evaluate --sweep`: which settings of the sampler take which values."""

import argparse
import typing
from typing import Any

from resgen_jax.cli import flags, sampler_flags
from resgen_jax.core import build, errors

EXAMPLE = "--sweep=num_steps=4,8,16 --sweep=guidance_scale=1,1.5,2"
Setting = tuple[str, tuple[Any, ...]]


def add(parser: flags.Parser) -> None:
    """--sweep and --budget."""
    group = parser.add_argument_group("a grid of the sampler's settings")
    group.add_argument(
        "--sweep",
        action="append",
        nargs="?",
        const="",
        metavar="NAME=A,B",
        help="measure each of these values of a setting, one flag for each, with all of the "
        "others; alone: some steps, guidances and temperatures. Goes on where it stopped. A value "
        "for each step is written 1/1.5/2",
    )
    group.add_argument(
        "--budget", type=float, metavar="SECONDS", help="of an image: name the best setting for it"
    )


def read(values: argparse.Namespace) -> dict[str, tuple[Any, ...]]:
    """The grid; empty for the usual one. UserError for what is none."""
    found: dict[str, tuple[Any, ...]] = {}
    for text in values.sweep:
        if not text:
            continue
        name, equals, rest = text.partition("=")
        name = name.strip().replace("-", "_")
        hints = sampler_flags.hints()
        if not equals or not rest:
            raise errors.UserError(f"--sweep is {text!r}; expected NAME=VALUES, e.g. {EXAMPLE}")
        if name not in hints:
            raise errors.UserError(
                f"--sweep names {name!r}, no setting of a sampler; {build.nearest(name, hints)}"
            )
        if name in found:
            raise errors.UserError(f"--sweep names {name} twice; give its values in one list")
        found[name] = tuple(_value(hints[name], word, name) for word in rest.split(","))
    return found


def _value(hint: Any, word: str, name: str) -> Any:
    """One value of a setting of this type; `a/b/c` where it is a number for each step."""
    options = typing.get_args(hint)
    kind = hint if not options else options[0]
    try:
        if "/" in word and options:
            return tuple(kind(part) for part in word.split("/"))
        return kind(word)
    except ValueError as failure:
        raise errors.UserError(
            f"--sweep={name} has the value {word!r}; expected {kind.__name__}s, e.g. {EXAMPLE}"
        ) from failure
