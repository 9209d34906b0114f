"""Checkpoints in a bucket that orbax cannot write to: saved on this machine, then copied there.

orbax writes to disks and to gs:// alone: it takes s3:// for a path that is not absolute. A
checkpoint in the bucket is whole once its list of files, with their sizes and sha256, is there,
which is put last and removed first.
"""

import json
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable

import jax
from etils import epath

from resgen_jax.core import errors
from resgen_jax.io import files, paths

LIST = "files.json"


class UnreachableError(Exception):
    """A bucket that does not answer, which says nothing about the checkpoints in it."""


def is_needed(directory: paths.Path) -> bool:
    """Whether orbax cannot write there."""
    return paths.scheme_of(directory) not in (None, "gs")


class Mirror:
    """The checkpoints below `directory`; `keeps` says which of the steps there stay."""

    def __init__(self, directory: paths.Path, keeps: Callable[[list[int]], set[int]]):
        if jax.process_count() > 1:
            raise errors.UserError(
                f"{jax.process_count()} processes cannot save in {directory}: orbax writes "
                "together to gs:// and to disks alone; name one of these as --workdir"
            )
        self.directory, self._keeps = directory, keeps
        self._folder = tempfile.TemporaryDirectory(prefix="resgen-")

    @property
    def saving(self) -> epath.Path:
        """The folder that orbax saves in, before it is copied."""
        return epath.Path(self._folder.name) / "saved"

    def publish(self, step: int) -> None:
        """Copies what orbax has saved into the bucket, and removes there what need not be kept."""
        folder, place = pathlib.Path(self.saving) / str(step), self.directory / str(step)
        paths.remove(place)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        entries = {str(path.relative_to(folder)): _facts(path) for path in files}
        for name in entries:
            paths.upload(folder / name, place / name)
        paths.write(place / LIST, json.dumps(entries, indent=2).encode())
        there = steps(self.directory)
        for old in set(there) - self._keeps(there):
            self.forget(old)
            paths.remove(self.directory / str(old))

    def forget(self, step: int) -> None:
        """Lets a step count no longer, whose files stay."""
        (self.directory / str(step) / LIST).unlink(missing_ok=True)

    def close(self) -> None:
        """Removes what lies on this machine."""
        self._folder.cleanup()


def steps(directory: paths.Path, mark: str = LIST) -> list[int]:
    """The steps of which all files are in the bucket, as the file `mark` says that is put last."""
    found = sorted(int(name) for name in paths.names_in(directory) if name.isdigit())
    return [step for step in found if (directory / str(step) / mark).exists()]


def fetch(place: paths.Path, into: pathlib.Path) -> None:
    """Copies a checkpoint out of the bucket.

    Raises OSError for a file that has changed there or is gone, UserError for one whose name leads
    out of the folder, UnreachableError for any other trouble, so that a good checkpoint is not
    taken for a damaged one.
    """
    shutil.rmtree(into, ignore_errors=True)
    _fetch(place / LIST, into.with_suffix(".json"))
    entries = json.loads(into.with_suffix(".json").read_text())
    for name in entries:
        paths.check_name(name, str(place / LIST), in_folders=True)
    for name, facts in entries.items():
        _fetch(place / name, into / name)
        if _facts(into / name) != facts:
            raise OSError(f"{name} is not the file that was saved")


def _fetch(place: paths.Path, file: pathlib.Path) -> None:
    try:
        paths.fetch(place, file)
    except FileNotFoundError:
        raise
    except Exception as failure:  # each library has its own
        raise UnreachableError(f"cannot read {place}: {failure}") from failure


def _facts(file: str | os.PathLike) -> list[int | str]:
    """Size and sha256."""
    return [os.path.getsize(file), files.sha256(file)]
