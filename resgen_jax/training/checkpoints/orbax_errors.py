"""orbax's settings, and the disk's complaints in words a user can act on."""

import contextlib
import functools
import glob
import logging
import os
import pathlib
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from etils import epath
from etils.epath import gpath
from orbax.checkpoint import v1 as ocp

from resgen_jax.core import errors
from resgen_jax.io import disks, paths


class DiskError(errors.UserError):
    """The disk refused, for the `reason`, to take what belongs to a checkpoint."""

    def __init__(self, message: str, reason: str):
        super().__init__(message)
        self.reason = reason


def context() -> ocp.Context:
    """orbax's settings: the record is written as a readable JSON file."""
    _take_folders_literally()
    registry = ocp.handlers.local_registry(include_global_registry=True)
    registry.add(ocp.handlers.JsonHandler, checkpointable_name="record")
    settings = ocp.Context()
    settings.checkpointables.registry = registry
    # Made behind the training's back, a folder that a full disk refuses leaves threads that wait
    # for it, and the end of the process for them: five minutes.
    settings.asynchronous.create_directories_asynchronously = False
    return settings


@functools.cache
def _take_folders_literally() -> None:
    """Lets orbax find what it has just written into a folder whose name has brackets.

    etils joins the folder and the pattern before it looks for wildcards, so that orbax would miss
    the arrays of its processes, without an error: a checkpoint that nothing can be read from.
    """
    joined = gpath.PosixGPath.glob

    def find(self: epath.Path, pattern: str) -> Iterator[epath.Path]:
        yield from joined(type(self)(glob.escape(os.fspath(self))), pattern)

    gpath.PosixGPath.glob = find


def silence_orbax() -> None:
    """Keep orbax's own log off the terminal: its errors are raised, and reported, here.

    So it is with writes that end after a save has failed: each would print a traceback of its own.
    """
    logger = logging.getLogger("absl")
    if _is_ours not in logger.filters:
        logger.addFilter(_is_ours)
    if not isinstance(sys.unraisablehook, _WithoutLateWrites):
        sys.unraisablehook = _WithoutLateWrites(sys.unraisablehook)


class _WithoutLateWrites:
    """The hook before it, but for tensorstore's late writes.

    They answer to an event loop that is closed by then, from threads where nothing can catch them.
    """

    def __init__(self, hook: Callable[[Any], None]):
        self._hook = hook

    def __call__(self, unraisable: Any) -> None:
        error = unraisable.exc_value
        if not (isinstance(error, RuntimeError) and str(error) == "Event loop is closed"):
            self._hook(unraisable)


@contextlib.contextmanager
def quiet_failure() -> Iterator[None]:
    """Around a load that may fail, the handling of its error included.

    A failed load leaves orbax's unfinished coroutines behind, each of which prints a traceback of
    its own when it is collected: collect them inside.
    """
    hook, asyncio_log = sys.unraisablehook, logging.getLogger("asyncio")
    was_disabled = asyncio_log.disabled
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        sys.unraisablehook = lambda unraisable: None
        asyncio_log.disabled = True
        try:
            yield
        finally:
            sys.unraisablehook, asyncio_log.disabled = hook, was_disabled


def _is_ours(entry: logging.LogRecord) -> bool:
    return f"{os.sep}orbax{os.sep}" not in entry.pathname


@contextlib.contextmanager
def explained(directory: os.PathLike) -> Iterator[None]:
    """Turns an error of the disk into a DiskError that says what to do."""
    try:
        yield
    except errors.UserError:
        raise
    except Exception as error:
        reason = _disk_trouble(error)
        if reason is None:
            raise
        reason = f"{reason} ({_free_bytes(directory)} bytes free)"
        raise DiskError(
            f"could not save in {directory}: {reason}; older checkpoints are intact: make room or "
            "mend it, then the same command goes on",
            reason,
        ) from error


def _disk_trouble(error: BaseException | None) -> str | None:
    """The disk's complaint among an error and its causes; tensorstore gives it as text alone."""
    while error is not None:
        if isinstance(error, OSError) and error.errno in disks.REFUSALS:
            return os.strerror(error.errno)
        number = disks.told_in(str(error))
        if number is not None:
            return os.strerror(number)
        error = error.__cause__ or error.__context__
    return None


def _free_bytes(directory: os.PathLike) -> int:
    directory = pathlib.Path(tempfile.gettempdir() if paths.is_remote(directory) else directory)
    existing = next(path for path in (directory, *directory.parents) if path.exists())
    return shutil.disk_usage(existing).free
