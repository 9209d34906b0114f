"""Flags and commands, as they stand in messages and are pasted into a shell."""

import shlex
from collections.abc import Sequence

from resgen_jax.core import errors

CONFIG_FIELD = "--config."
Overrides = Sequence[tuple[str, str]]  # fields, written a.b, and their values in words


def written(name: str, value: object) -> str:
    """`--name=value`, quoted where the shell needs it."""
    return f"--{name}={shlex.quote(str(value))}"


def at_least(name: str, value: int, least: int) -> None:
    """Raises UserError for a number below `least` that the flag `name` gives."""
    if value < least:
        raise errors.UserError(f"--{name} is {value}; expected {least} or more")
