"""What the commands beside PyTorch share: flags, the packages they need, figures, exit codes."""

import argparse
import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn

from resgen_jax.cli import compiling, tables
from resgen_jax.core import errors, shell
from resgen_jax.io import paths
from resgen_jax.runs import progress, run_directory
from resgen_jax.runtime import compile_cache

USER_ERROR = 2


class Parser(argparse.ArgumentParser):
    """Raises UserError instead of exiting; `--num_steps` and `--output` are flags of all."""

    def __init__(self, name: str, purpose: str):
        super().__init__(
            prog=f"python tests/benchmarks/{name}.py", description=purpose, allow_abbrev=False
        )
        self.add_argument("--num_steps", type=int, default=20, help="timed runs (%(default)s)")
        self.add_argument("--output", metavar="FILE", help="also write the figures as JSON")

    def error(self, message: str) -> NoReturn:
        raise errors.UserError(f"{message}; see `{self.prog} --help`")


def run(
    parser: Parser,
    arguments: Sequence[str] | None,
    packages: Sequence[str],
    measure: Callable[[argparse.Namespace], Mapping[str, Any]],
) -> int:
    """Prints the figures of `measure`, a line each; 2 and one line for a user's mistake.

    That a package is missing is said before anything is computed.
    """
    try:
        values = parser.parse_args(arguments)
        for name in ("num_steps", "batch_size"):
            if name in values:
                shell.at_least(name, getattr(values, name), 1)
        if values.output:
            paths.check_reachable(values.output)
            output = paths.of(values.output)
            run_directory.check_writable(output.parent, output.name)
        require(packages)
        compile_cache.switch_on()
        with compiling.told(progress.say):
            found = measure(values)
        for name, value in found.items():
            progress.result(f"{name + ':':<32}{tables.written(value)}")
        if values.output:
            run_directory.write_json(output, found)
    except errors.UserError as failure:
        sys.stderr.write(f"{parser.prog}: {' '.join(str(failure).split())}\n")
        return USER_ERROR
    return 0


def require(packages: Sequence[str]) -> None:
    """Imports the packages; UserError names the extra where one is not installed."""
    for package in packages:
        try:
            importlib.import_module(package)
        except ModuleNotFoundError as failure:
            raise errors.UserError(
                f"the comparison needs {failure.name}, which is not installed; "
                "install the extra: pip install -e '.[peers]'"
            ) from failure
