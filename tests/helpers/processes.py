"""Several real processes that find each other over loopback, and what becomes of them."""

import os
import pathlib
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

ROOT = pathlib.Path(__file__).parents[2]
CACHE = ROOT / ".jax_cache"
DEADLINE = 600  # seconds; SIGTERM does not end a hung process under jax.distributed, kill does


class Ended(NamedTuple):
    """The exit code of a process and what it said."""

    code: int
    out: str
    err: str


def free_port() -> int:
    """A port that nothing listens to."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


def start(
    script: str | os.PathLike, *arguments: Any, env: Mapping[str, str] | None = None
) -> subprocess.Popen:
    """A Python script in a process of its own, with the compile cache of the tests."""
    return subprocess.Popen(
        [sys.executable, os.fspath(script), *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"JAX_COMPILATION_CACHE_DIR": str(CACHE)} | dict(env or {}),
    )


def wait(processes: Sequence[subprocess.Popen], deadline: float = DEADLINE) -> list[Ended]:
    """What each said and returned; all are killed at the deadline, which is an error."""
    try:
        said = [process.communicate(timeout=deadline) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    return [
        Ended(process.returncode, *texts) for process, texts in zip(processes, said, strict=True)
    ]


def together(
    script: str | os.PathLike,
    count: int,
    arguments: Callable[[int, int], Sequence[Any]],
    env: Mapping[str, str] | None = None,
) -> list[Ended]:
    """`count` processes of a script to their end; `arguments(number, port)` are those of each."""
    port = free_port()
    return wait([start(script, *arguments(number, port), env=env) for number in range(count)])


def succeed(
    script: str | os.PathLike,
    count: int,
    arguments: Callable[[int, int], Sequence[Any]],
    env: Mapping[str, str] | None = None,
) -> list[str]:
    """`together`, all of which end well; what each wrote to standard output."""
    ended = together(script, count, arguments, env)
    assert all(process.code == 0 for process in ended), ended
    return [process.out for process in ended]
