"""Verbs with actions (`resgen scale count`): each has a page of help and flags of its own."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from resgen_jax.cli import flags
from resgen_jax.core import build, errors


class Action(NamedTuple):
    """What the help says of an action, and its flags; the verb's own file says what it does."""

    add_flags: Callable[[flags.Parser], None]
    purpose: str
    example: str


def parser_of(
    verb: str, actions: Mapping[str, Action], arguments: Sequence[str]
) -> tuple[flags.Parser, list[str]]:
    """The parser of the action among the arguments, and the others; `action` is its default.

    Raises UserError where there is none.
    """
    name = next((word for word in arguments if word in actions), None)
    if name is None:
        said, word = "the action is missing", next(iter(arguments), "")
        if word and not word.startswith("-"):
            said = f"unknown action {word!r}"
        raise errors.UserError(
            f"{said}; {build.nearest(word, actions)}; see `resgen {verb} --help`"
        )
    action = actions[name]
    parser = flags.Parser(f"{verb} {name}", action.purpose, action.example)
    action.add_flags(parser)
    parser.set_defaults(action=name)
    left = list(arguments)
    left.remove(name)
    return parser, left


def help_text(verb: str, purpose: str, actions: Mapping[str, Action]) -> str:
    """What `resgen VERB --help` prints: the actions."""
    title = f"resgen {verb} ACTION"
    lines = [
        f"usage: {title} [flags]      ({title} --help lists the flags of an action)",
        "",
        f"{purpose[0].upper()}{purpose[1:]}.",
        "",
    ]
    for name, action in actions.items():
        lines += [f"  {name:<12} {action.purpose}", f"  {'':<12}   $ {action.example}"]
    return "\n".join(lines)


def is_help(arguments: Sequence[str], actions: Mapping[str, Action]) -> bool:
    """Whether help is wanted, but not that of an action."""
    asked = "--help" in arguments or "-h" in arguments
    return asked and not any(word in actions for word in arguments)
