"""Files of this machine: written whole or not at all, and known by their digests."""

import contextlib
import hashlib
import os
import pathlib
from collections.abc import Iterator


@contextlib.contextmanager
def replacing(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A file to be written beside `path`, which takes its place where the block ends without error.

    Else nothing is left of it, and what was at `path` stays. Raises OSError.
    """
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write(path: pathlib.Path, content: bytes) -> None:
    """The file `path` of this content, whole or not at all. Raises OSError."""
    with replacing(path) as unfinished:
        unfinished.write_bytes(content)


def sync(path: pathlib.Path) -> None:
    """Waits until the content of a file is on the disk: its name can then not outlive it."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sha256(path: str | os.PathLike) -> str:
    """The sha256 of a file's content, in hexadecimal. Raises OSError."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
