"""Whether a run can write where it is kept, and whether all its processes see the same place."""

import contextlib
import json
import os
import secrets
import time

from resgen_jax.core import errors
from resgen_jax.io import disks, paths
from resgen_jax.runtime import processes

# A disk of a network may remember for a minute that a file was not there.
SECONDS_TO_SEE = 75.0


class FullDisk(errors.UserError):
    """The disk of the directory has no room."""


def check(workdir: str | os.PathLike, name: str = "--workdir") -> None:
    """Raises UserError, in every process, unless all can write there and see the same files.

    The error calls it `name`; it is a FullDisk if there is no room. Alone, only that it can write.
    """
    there = processes.group()
    index = 0 if there is None else there.index
    token = processes.gather("the work directory", secrets.token_hex(8))[0]
    mine = _probe(workdir, token, index)
    was_there = mine.parent.is_dir()
    failure = _write(mine)
    if there is None:
        _remove(mine)
        if not was_there and not paths.is_remote(mine):
            with contextlib.suppress(OSError):  # the run is not begun yet
                mine.parent.rmdir()
        if failure:
            raise _unwritable(workdir, name, "", failure)
        return
    try:
        said = processes.gather("writing into the work directory", json.dumps(failure))
        failures = [json.loads(text) for text in said]
        for number, reason in enumerate(failures):
            if reason:
                raise _unwritable(workdir, name, f" from {there.name(number)}", reason)
        is_seen = _wait_for(_probe(workdir, token, 0), SECONDS_TO_SEE)
        timeout = SECONDS_TO_SEE + processes.TIMEOUT
        seen = processes.gather("seeing the work directory", json.dumps(is_seen), timeout)
        blind = [there.name(number) for number, text in enumerate(seen) if not json.loads(text)]
        if blind:
            raise errors.UserError(
                f"{name}={os.fspath(workdir)} is not shared: {', '.join(blind)} cannot see what "
                f"{there.name(0)} wrote there; name a disk that all hosts see, or a bucket (gs://)"
            )
    finally:
        _remove(mine)


def _probe(workdir: str | os.PathLike, token: str, index: int) -> paths.Path:
    return paths.absolute(workdir) / f".resgen-{token}-{index}"


def _write(path: paths.Path) -> str | None:
    """Writes a file; why that failed."""
    try:
        paths.write(path, b"written to see whether it can be; may be deleted\n")
    except Exception as failure:  # each library of buckets has its own
        text = getattr(failure, "strerror", None) or " ".join(str(failure).split())[:120]
        return text or type(failure).__name__
    return None


def _wait_for(path: paths.Path, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while path.name not in paths.names_in(path.parent):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.2)
    return True


def _remove(path: paths.Path) -> None:
    try:
        if paths.is_remote(path):
            paths.remove(path)
        else:
            path.unlink(missing_ok=True)
    except Exception:  # it could not be written, or another process cleans up
        return


def _unwritable(workdir: str | os.PathLike, name: str, where: str, reason: str) -> errors.UserError:
    kind = FullDisk if disks.told_in(reason) in disks.FULL else errors.UserError
    way_out = "make room" if kind is FullDisk else "change its rights"
    return kind(
        f"cannot write in {name}={os.fspath(workdir)}{where} ({reason}); {way_out}, or name "
        "another one"
    )
