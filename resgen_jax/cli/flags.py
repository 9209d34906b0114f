"""Flags of a verb: argparse, with the nearest name in every message, and `--config.field=value`."""

import argparse
import shlex
from collections.abc import Sequence
from typing import NoReturn

from resgen_jax.cli import known
from resgen_jax.core import build, errors, seeds
from resgen_jax.core.shell import CONFIG_FIELD, Overrides
from resgen_jax.io import paths

PLACES = ("DIR", "FILE", "IMAGE")  # what a flag is called that names a place


class Parser(argparse.ArgumentParser):
    """Raises UserError instead of printing and exiting."""

    def __init__(self, verb: str, purpose: str, example: str):
        super().__init__(
            prog=f"resgen {verb}",
            description=purpose[0].upper() + purpose[1:] + ".",
            epilog=f"example: {example}",
            allow_abbrev=False,
            add_help=False,
            formatter_class=lambda prog: argparse.HelpFormatter(
                prog, max_help_position=30, width=98
            ),
        )
        self._in_buckets: tuple[str, ...] = ()
        self.add_argument("--help", "-h", action="store_true", help="this text")
        self.add_argument(
            "--distributed",
            nargs="?",
            const=known.ITSELF,
            metavar="HOST:PORT,COUNT,NUMBER",
            help="where the first of several processes is, how many there are and which this is; "
            "on Cloud TPU, GKE, Slurm and Open MPI they find each other, `off` runs alone",
        )
        self.add_argument(
            "--join_timeout",
            type=int,
            default=known.JOIN_TIMEOUT,
            metavar="SECONDS",
            help="how long to wait for the other processes (%(default)s)",
        )

    def allow_buckets(self, *names: str) -> None:
        """These flags may name a place in a bucket, gs:// or s3://."""
        self._in_buckets = names

    def error(self, message: str) -> NoReturn:
        raise errors.UserError(f"{message}; see `{self.prog} --help`")

    def parse(self, arguments: Sequence[str]) -> tuple[argparse.Namespace | None, Overrides]:
        """Values of the flags, None if help was asked for, and the config fields that are set.

        `command` among the values is the whole line, to be shown.
        """
        given = arguments
        arguments = [_underscored(argument) for argument in arguments]
        if "--help" in arguments or "-h" in arguments:
            return None, []
        arguments, overrides = _split_overrides(arguments)
        values, unknown = self.parse_known_args(arguments)
        if unknown:
            self._refuse(unknown[0])
        if overrides and not hasattr(values, "config"):
            raise errors.UserError(
                f"{CONFIG_FIELD}{overrides[0][0]} is set, but this verb reads the config of "
                f"the run directory; set config fields with `resgen train`"
            )
        self._expand_homes(values)
        self._check_places(values)
        values.command = shlex.join([*self.prog.split(), *given])
        return values, overrides

    def _expand_homes(self, values: argparse.Namespace) -> None:
        """Puts the home in place of ~ in every flag that names a place."""
        for action in self._actions:
            value = getattr(values, action.dest, None)
            if str(action.metavar).partition("[")[0] in PLACES and isinstance(value, str):
                setattr(values, action.dest, paths.expanded(value))

    def _check_places(self, values: argparse.Namespace) -> None:
        """Raises UserError for a place in a bucket that cannot be used, or not by this flag."""
        for name, value in vars(values).items():
            if not isinstance(value, str) or not paths.is_remote(value):
                continue
            if name not in self._in_buckets:
                allowed = ", ".join(f"--{flag}" for flag in self._in_buckets) or "no flag"
                raise errors.UserError(
                    f"--{name} is {value!r}, but it has to be a path of this machine: with "
                    f"`{self.prog}` {allowed} may name a place in a bucket"
                )
            paths.check_reachable(value)

    def _refuse(self, argument: str) -> NoReturn:
        if not argument.startswith("-"):
            self.error(f"unexpected word {argument!r}; flags are written --name=value")
        name = argument.partition("=")[0].lstrip("-")
        root, dot, rest = name.partition(".")
        own = [option[2:] for option in self._option_string_actions if option[:2] == "--"]
        hint = build.nearest(root, own)
        if hint.startswith("did you mean"):
            close = hint.split("'")[1]
            hint = f"did you mean --{close}{dot + rest if close == 'config' else ''}?"
        raise errors.UserError(f"unknown flag --{name}; {hint}")


def add_workdir(parser: Parser, meaning: str, default: str | None = None) -> None:
    """The flag --workdir, required unless it has a default."""
    parser.add_argument("--workdir", metavar="DIR", default=default, help=meaning)


def add_images(parser: Parser, meaning: str) -> None:
    """The flag --images."""
    parser.add_argument("--images", metavar="DIR", help=f"{meaning}, one subfolder per class")


def require(values: argparse.Namespace, name: str, meaning: str, example: str) -> str:
    """The value of the flag `name`, or a UserError that says what it is for."""
    value = getattr(values, name)
    if not value:
        raise errors.UserError(f"--{name} is missing: {meaning}, e.g. --{name}={example}")
    return value


def integers(text: str) -> tuple[int, ...]:
    """A flag's value like 0,3,7."""
    return tuple(int(word) for word in text.split(","))


def seed(text: str) -> int:
    """A flag's value that JAX uses in full."""
    try:
        return seeds.check(int(text), "it")
    except errors.UserError as failure:
        raise argparse.ArgumentTypeError(str(failure)) from failure


def grid(text: str) -> tuple[int, ...]:
    """A flag's value like 8x16: rows and columns."""
    rows, columns = text.split("x")
    return int(rows), int(columns)


def numbers(text: str) -> float | tuple[float, ...]:
    """A flag's value like 1.5, or one for each step like 1,1.5,2."""
    values = tuple(float(word) for word in text.split(","))
    return values if "," in text else values[0]


def whole_numbers(text: str) -> int | tuple[int, ...]:
    """A flag's value like 20, or one for each step like 0,20,10."""
    values = integers(text)
    return values if "," in text else values[0]


numbers.__name__ = "number, or comma-separated numbers"
whole_numbers.__name__ = "integer, or comma-separated integers"
seed.__name__ = "whole number"
grid.__name__ = "ROWSxCOLUMNS"
integers.__name__ = "comma-separated integers"


def _underscored(argument: str) -> str:
    """--num-samples=3 as --num_samples=3."""
    name, equals, value = argument.partition("=")
    if name.startswith("--") and not name.startswith(CONFIG_FIELD):
        name = "--" + name[2:].replace("-", "_")
    return name + equals + value


def _split_overrides(arguments: Sequence[str]) -> tuple[list[str], Overrides]:
    """Takes `--config.a.b=value` and `--config.a.b value` out of the arguments."""
    kept, overrides = [], []
    words = iter(arguments)
    for word in words:
        if not word.startswith(CONFIG_FIELD):
            kept.append(word)
            continue
        name, equals, value = word[len(CONFIG_FIELD) :].partition("=")
        if not equals:
            value = next(words, "--")
            if value.startswith("--"):
                raise errors.UserError(f"{word} has no value; write {word}=VALUE")
        overrides.append((name, value))
    return kept, overrides
