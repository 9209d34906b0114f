"""Tells files from others by what they are, wherever they lie, without reading them all.

By their names below the folder that all of them share, the sizes of 65,536 files and 512 pieces of
16 KiB, both spread evenly over the list: of fewer files, and of less than 8 MB, all there is.
"""

import concurrent.futures
import hashlib
import os
from collections.abc import Iterable, Sequence

import numpy as np

from resgen_jax.data import spread

MOST_SIZES = 2**16
PIECE, MOST_PIECES = 2**14, 2**9
NUM_THREADS = 16  # disks of a network answer many at a time
MISSING = -1  # the size of what cannot be read, which training tells of when it meets it


def digest(words: Iterable[str]) -> str:
    """A sha256 over some words."""
    found = hashlib.sha256()
    for word in words:
        found.update(word.encode(errors="surrogateescape") + b"\0")
    return found.hexdigest()


def of_files(places: Iterable[str | os.PathLike]) -> str:
    """The same for copies in another folder; another one for other names, sizes or bytes."""
    files = [os.fspath(place) for place in places]
    measured = [files[number] for number in spread.places(len(files), MOST_SIZES)]
    with concurrent.futures.ThreadPoolExecutor(NUM_THREADS) as pool:
        parts = pool.map(_sizes, (measured[first::NUM_THREADS] for first in range(NUM_THREADS)))
        sizes = np.zeros(len(measured), np.int64)
        for first, part in enumerate(parts):
            sizes[first::NUM_THREADS] = part
        pieces = pool.map(_piece, *zip(*_pieces(measured, sizes), strict=True)) if measured else ()
        contents = [hashlib.sha256(piece).hexdigest() for piece in pieces]
    return digest([*_names(files), *map(str, sizes.tolist()), *contents])


def _names(files: Sequence[str]) -> list[str]:
    """Names of files without the folder that all of them share."""
    if not files:
        return []
    # What lies between the first and the last in order begins as both of them do.
    shared = os.path.commonpath([os.path.dirname(min(files)), os.path.dirname(max(files))])
    return [file[len(shared) :].lstrip(os.sep) for file in files]


def _sizes(files: Sequence[str]) -> list[int]:
    return [_size(file) for file in files]


def _size(file: str) -> int:
    try:
        return os.stat(file).st_size
    except OSError:
        return MISSING


def _pieces(files: Sequence[str], sizes: np.ndarray) -> list[tuple[str, int]]:
    """Files, and where in them a piece begins."""
    ends = np.cumsum(np.maximum(-(-sizes // PIECE), 1))
    chosen = spread.places(int(ends[-1]), MOST_PIECES)
    numbers = np.searchsorted(ends, chosen, side="right")
    starts = np.concatenate([[0], ends])[numbers]
    return [
        (files[number], PIECE * place)
        for number, place in zip(numbers.tolist(), (chosen - starts).tolist(), strict=True)
    ]


def _piece(file: str, start: int) -> bytes:
    try:
        with open(file, "rb") as opened:
            opened.seek(start)
            return opened.read(PIECE)
    except OSError:
        return b""
