"""The files of `resgen sample`, and how samples of earlier commands in the same folder are kept."""

import hashlib
import io
import itertools
import zipfile
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np

from resgen_jax.io import disks, paths

SUM = "sha256"  # of the images and labels: says whether other samples would be written over
LONGEST_SUM = 2**12  # bytes of its member, whatever an archive claims
ARRAYS, ADM_ARRAYS, SEAM = "samples.npz", "samples_adm.npz", "seam.json"
STATES, STATES_PICTURE = "states.npz", "states.png"


class Files(NamedTuple):
    """Where the samples of one command go: their arrays, a picture and what tells of them."""

    output: paths.Path
    arrays: str
    more: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """All of them."""
        return self.arrays, self.picture, *self.more

    @property
    def picture(self) -> str:
        """The picture of the first samples, beside their arrays."""
        return self.arrays.replace(".npz", ".png")

    def keep_others(self, content: str, note: Callable[[str], None]) -> None:
        """Gives the files of an earlier command a number, unless their content is the same.

        samples.npz becomes samples-1.npz, and what belongs to it alike; `note` hears of it.
        """
        if jax.process_index() != 0:
            return
        there = set(paths.names_in(self.output))
        found = [name for name in self.names if name in there]
        if not found or sum_of(self.output / self.arrays) == content:
            return
        numbers = itertools.count(1)
        kept = next(
            names for n in numbers if there.isdisjoint((names := self._numbered(n)).values())
        )
        for name in found:
            with disks.explained(self.output / kept[name]):
                (self.output / name).rename(self.output / kept[name])
        note(f"earlier samples in {self.output} are now {', '.join(kept[name] for name in found)}")

    def _numbered(self, number: int) -> dict[str, str]:
        """`samples-1.npz` for samples.npz, and so on."""
        parts = (name.rpartition(".") for name in self.names)
        names = (f"{stem}-{number}{dot}{suffix}" for stem, dot, suffix in parts)
        return dict(zip(self.names, names, strict=True))


def ours(output: paths.Path) -> Files:
    """The files of samples in the form of this library."""
    return Files(output, ARRAYS, (SEAM, STATES, STATES_PICTURE))


def adm(output: paths.Path) -> Files:
    """The files of samples in the form that the ADM evaluator reads."""
    return Files(output, ADM_ARRAYS)


class Sum:
    """The sha256 of samples that come in batches."""

    def __init__(self, labels: np.ndarray):
        self._sum = hashlib.sha256(np.ascontiguousarray(labels, np.int32).tobytes())

    def add(self, images: np.ndarray) -> None:
        """The next ones."""
        self._sum.update(np.ascontiguousarray(images).tobytes())

    def __str__(self) -> str:
        return self._sum.hexdigest()


def sum_of(path: paths.Path) -> str | None:
    """What an NPZ file says of its samples; None where it does not, or cannot be read."""
    try:
        with (
            path.open("rb") as file,
            zipfile.ZipFile(file) as archive,
            archive.open(f"{SUM}.npy") as member,
        ):
            content = member.read(LONGEST_SUM)
        return str(np.load(io.BytesIO(content), allow_pickle=False))
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        return None
