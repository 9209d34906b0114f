"""Where files lie: on a disk, or in a bucket (gs://, s3://) by way of etils.epath and fsspec.

`of` makes a path of what a user wrote; all that reads or writes a run directory goes through it.
A bucket has no folders, no appending and no renaming, but each object is put whole or not at all.
"""

import contextlib
import errno
import hashlib
import importlib.util
import os
import pathlib
import re
import secrets
import tempfile
from collections.abc import Iterator
from typing import Any, NamedTuple, TypeAlias

from etils import epath
from etils.epath import backend

from resgen_jax.core import errors
from resgen_jax.io import files

Path: TypeAlias = pathlib.Path | epath.Path
VARIABLE = "RESGEN_CACHE"
DEFAULT_CACHE = "~/.cache/resgen_jax/buckets"
URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://(.*)", re.DOTALL)
NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.EMLINK, errno.EXDEV)
LONGEST_NAME = 255  # bytes, of nearly every file system


class Scheme(NamedTuple):
    """The package that fsspec reaches these buckets with, and our extra that brings it."""

    package: str
    extra: str


SCHEMES = {"gs": Scheme("gcsfs", "gcs"), "s3": Scheme("s3fs", "s3")}


def scheme_of(place: str | os.PathLike) -> str | None:
    """What stands before ://, None for a path of this machine."""
    match = URL.fullmatch(os.fspath(place))
    return match and match.group(1)


def of(place: str | os.PathLike) -> Path:
    """The path that `place` names: pathlib's on this machine's disks, epath's in a bucket.

    Text may begin with ~, the user's home. Raises UserError where that is not known, for any other
    scheme, for one whose package is missing, and without a bucket.
    """
    text = os.fspath(place)
    match = URL.fullmatch(text)
    if match is None:
        return pathlib.Path(expanded(place) if isinstance(place, str) else place)
    name, rest = match.groups()
    if name not in SCHEMES:
        raise errors.UserError(
            f"{text!r} has the scheme {name}://; expected a folder, gs://BUCKET/FOLDER or "
            "s3://BUCKET/FOLDER"
        )
    package, extra = SCHEMES[name]
    if importlib.util.find_spec(package) is None:
        raise errors.UserError(
            f"{text!r} needs the package {package}; install it by pip install 'resgen_jax[{extra}]'"
        )
    bucket, *folders = rest.rstrip("/").split("/")
    if not bucket or not all(folders) or {".", ".."} & {bucket, *folders}:
        raise errors.UserError(f"{text!r} names no place in a bucket; write {name}://BUCKET/FOLDER")
    return epath.Path(text)


def expanded(text: str) -> str:
    """The text of a path with the home it names by ~ or ~USER; UserError where there is none.

    Shells do this too, but not behind the = of a flag, nor within quotes.
    """
    found = os.path.expanduser(text)
    if found == text and text.partition("/")[0] == "~":
        raise errors.UserError(
            f"{text!r} is in the home of a user who has none here; write the whole path"
        )
    return found


def is_remote(place: str | os.PathLike) -> bool:
    """Whether it lies in a bucket."""
    return scheme_of(place) is not None


def is_file(path: Path) -> bool:
    """Whether a file is there; False, too, where the path, out of a file, is too long for any."""
    try:
        return path.is_file()
    except OSError as failure:
        if failure.errno != errno.ENAMETOOLONG:
            raise
        return False


def check_name(name: Any, where: str, *, in_folders: bool = False) -> None:
    """Raises UserError unless `name`, out of a file of a stranger's, stays in the folder it is in.

    Whatever data name is checked here before anything is opened, written or asked for: one plain
    name, or with `in_folders` some of them with / between. `where` says what file it stands in.
    """
    parts = name.split("/") if isinstance(name, str) and in_folders else [name]
    if not all(map(_is_plain, parts)):
        wanted = "a path that stays in its folder" if in_folders else "a name without a folder"
        raise errors.UserError(f"{where} names the file {str(name)[:80]!r}; expected {wanted}")


def _is_plain(name: Any) -> bool:
    if not isinstance(name, str) or name in ("", ".", ".."):
        return False
    is_short = len(name.encode(errors="surrogatepass")) <= LONGEST_NAME
    return is_short and name.isprintable() and not set(name) & set("/\\:")


def absolute(place: str | os.PathLike) -> Path:
    """The path from the root; a place in a bucket is one already."""
    path = of(place)
    return path if is_remote(path) else path.absolute()


def check_reachable(place: str | os.PathLike) -> None:
    """Raises UserError where a place in a bucket cannot even be looked at; disks are not asked."""
    path = of(place)
    if not is_remote(path):
        return
    bucket = os.fspath(path).split("/")[2]
    try:
        is_there = bool(_files(path).exists(bucket))
    except Exception as failure:  # each library has its own
        raise errors.UserError(
            f"cannot reach {path} ({_short(failure)}); check the name, the credentials and, for "
            "servers other than Amazon's, AWS_ENDPOINT_URL"
        ) from failure
    if not is_there:
        raise errors.UserError(
            f"there is no bucket {bucket!r} for {path}; make it, or name another"
        )


def make_folder(path: Path) -> None:
    """Makes a folder and those above it; in a bucket there are none to be made."""
    if not is_remote(path):  # s3fs would make a bucket that is missing
        path.mkdir(parents=True, exist_ok=True)


def write(path: Path, content: bytes) -> None:
    """A file, whole or not at all. Raises OSError."""
    make_folder(path.parent)
    if is_remote(path):
        _files(path).pipe_file(os.fspath(path), content)
        return
    files.write(pathlib.Path(path), content)


def create(path: Path, content: bytes) -> bool:
    """A file that was not there, whole or not at all; False if it is. Raises OSError.

    Of all that try at the same moment one succeeds.
    """
    if is_remote(path):
        try:
            _files(path).pipe_file(os.fspath(path), content, mode="create")
        except Exception:  # each library has its own for what is there
            names = names_in(path.parent)
            if path.name not in names:
                raise
            return False
        return True
    make_folder(path.parent)
    unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        unfinished.write_bytes(content)
        os.link(unfinished, path)
    except FileExistsError:
        return False
    except OSError as failure:
        if failure.errno not in NO_LINKS:
            raise
        return _create_in_place(path, content)
    finally:
        with contextlib.suppress(OSError):
            unfinished.unlink()
    return True


def _create_in_place(path: Path, content: bytes) -> bool:
    """For disks without hard links; others may see it for a moment while it is empty."""
    try:
        with open(path, "xb") as file:
            file.write(content)
    except FileExistsError:
        return False
    return True


def upload(file: str | os.PathLike, place: Path) -> None:
    """Copies a file of this machine into a bucket, whole or not at all."""
    _files(place).put_file(os.fspath(file), os.fspath(place))


def fetch(place: Path, file: pathlib.Path) -> None:
    """Copies a file out of a bucket; it has its name here only once it is whole."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with files.replacing(file) as unfinished:
        _files(place).get_file(os.fspath(place), os.fspath(unfinished))


def remove(place: Path) -> None:
    """Removes a folder of a bucket and all in it; nothing happens where nothing is."""
    with contextlib.suppress(FileNotFoundError):
        _files(place).rm(os.fspath(place), recursive=True)


def names_in(place: Path) -> list[str]:
    """What lies in a folder, by name, as it is now; nothing where no folder is."""
    if is_remote(place):
        _files(place).invalidate_cache()  # others write, too
    try:
        return sorted(path.name for path in place.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


@contextlib.contextmanager
def reading(path: Path) -> Iterator[pathlib.Path]:
    """The file on this machine, for what maps it into memory: itself, or a copy for a while."""
    if not is_remote(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="resgen-") as folder:
        copy = pathlib.Path(folder) / path.name
        fetch(path, copy)
        yield copy


@contextlib.contextmanager
def writing(path: Path) -> Iterator[pathlib.Path]:
    """A file on this machine that goes to `path` once it is written without an error.

    Makes the folder that it lies in. Raises OSError.
    """
    if not is_remote(path):
        make_folder(path.parent)
        with files.replacing(pathlib.Path(path)) as unfinished:
            yield unfinished
        return
    with tempfile.TemporaryDirectory(prefix="resgen-") as folder:
        copy = pathlib.Path(folder) / path.name
        yield copy
        upload(copy, path)


def working_copy(place: Path, purpose: str) -> pathlib.Path:
    """The folder on this machine that stands for a place in a bucket: the same in every run."""
    if not is_remote(place):
        return place
    cache = absolute(os.environ.get(VARIABLE) or DEFAULT_CACHE)
    return cache / hashlib.sha256(os.fspath(place).encode()).hexdigest()[:16] / purpose


def _files(place: Path) -> Any:
    """fsspec's file system of a bucket, the one epath uses, so that they share what they remember.

    It finds credentials by itself, as the tools of the bucket's owner do.
    """
    return backend.fsspec_backend.fs(place)


def _short(failure: BaseException) -> str:
    text = " ".join(str(failure).split())
    return f"{type(failure).__name__}: {text[:120]}" if text else type(failure).__name__
