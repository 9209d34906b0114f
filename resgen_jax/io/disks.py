"""What a disk refuses: found out before the work, and told in one line."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator

from resgen_jax.core import errors
from resgen_jax.io import paths

FULL = (errno.ENOSPC, errno.EDQUOT)
TROUBLE = (
    *(*FULL, errno.EFBIG, errno.EIO),  # the disk
    *(errno.EACCES, errno.EPERM, errno.EROFS),  # rights
)
REFUSALS = (
    *TROUBLE,
    *(errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.ELOOP),  # the name
)


def check_writable(file: paths.Path) -> None:
    """Raises UserError where no file of this name could be written, and leaves nothing behind.

    To be asked before long work whose result goes there. Buckets are not asked: who may write an
    object need not be allowed to remove one.
    """
    if paths.is_remote(file):
        return
    made: list[pathlib.Path] = []
    try:
        with explained(file):
            if file.is_dir():
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            for folder in reversed(file.parents):
                if not folder.exists():
                    folder.mkdir(exist_ok=True)
                    made.append(folder)
            probe = file.with_name(f".{file.name}.{os.getpid()}.probe")
            try:
                probe.write_bytes(b"0")
            finally:
                probe.unlink(missing_ok=True)
    finally:
        for folder in reversed(made):
            with contextlib.suppress(OSError):  # others have put something there
                folder.rmdir()


@contextlib.contextmanager
def explained(
    file: paths.Path | str, way_out: str = "make room or name another place"
) -> Iterator[None]:
    """What the system says of a disk or a name, as a UserError about the file that was written."""
    try:
        yield
    except OSError as failure:
        if failure.errno not in REFUSALS:
            raise
        raise errors.UserError(f"cannot write {file} ({failure.strerror}); {way_out}") from failure


def error_of(failure: Exception, path: str | os.PathLike) -> OSError:
    """The OSError behind an error by which a library reports the disk of `path` in its own way."""
    number = told_in(str(failure))
    if number is None:
        return OSError(f"{path}: {failure}")
    return OSError(number, os.strerror(number), str(path))


def told_in(text: str) -> int | None:
    """The number of the trouble with a disk that a library tells in words alone, if it does."""
    return next((number for number in TROUBLE if os.strerror(number) in text), None)
