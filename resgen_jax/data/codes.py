"""The codes directory: a tokenizer's codes of a dataset, with its codebooks, for a generator.

codes_train.npy, codes_held_out.npy ("n l q"), labels_*.npy ("n"), codebooks.npy ("q v c"), and
codes.json: what they mean, and the sha256 of every file.
"""

import contextlib
import dataclasses
import errno
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Integer

from resgen_jax.core import build, errors
from resgen_jax.data.sources import Element

DESCRIPTION = "codes.json"
Batches = Iterable[tuple[Integer[np.ndarray, "_ l q"], Integer[np.ndarray, "_"]]]


@dataclasses.dataclass(frozen=True)
class Meta:
    """The tokenizer's sizes, its run directory and the names of the classes."""

    grid: tuple[int, int]
    depth: int
    codebook_size: int
    code_dim: int
    image_size: int
    channels: int
    class_names: tuple[str, ...]
    tokenizer: str = ""


class CodesDataset(NamedTuple):
    """Codes to train on and held out, with the codebooks they point into."""

    train: "CodesSource"
    held_out: "CodesSource"
    codebooks: Float32[np.ndarray, "q v c"]
    meta: Meta
    sha256: dict[str, str]  # of every file: what tells one directory from another


class CodesSource:
    """Elements `{"codes": int32 "l q", "labels", "index"}` out of arrays mapped from disk."""

    def __init__(self, codes: Integer[np.ndarray, "n l q"], labels: Integer[np.ndarray, "n"]):
        self._codes, self._labels = codes, labels

    def __len__(self) -> int:
        return len(self._codes)

    def __getitem__(self, index: int) -> Element:
        index = int(index)
        return {
            "codes": np.asarray(self._codes[index], np.int32),
            "labels": np.int32(self._labels[index]),
            "index": np.int32(index),
        }

    @property
    def labels(self) -> Int32[np.ndarray, "n"]:
        """The label of every record."""
        return np.asarray(self._labels, np.int32)

    def __repr__(self) -> str:
        return f"CodesSource({len(self)} records)"


def write(
    path: str | os.PathLike,
    *,
    train: Batches,
    held_out: Batches,
    codebooks: Float32[np.ndarray, "q v c"],
    meta: Meta,
) -> None:
    """A codes directory at `path` from batches of (codes, labels), all at once or not at all.

    Replaces an earlier codes directory, but refuses to replace anything else.
    """
    path = pathlib.Path(path)
    if codebooks.shape != (meta.depth, meta.codebook_size, meta.code_dim):
        raise ValueError(f"codebooks {codebooks.shape} are not those of {meta}")
    check_writable(path)
    with _disk_errors(path):
        unfinished = path.parent / f".{path.name}.unfinished-{os.getpid()}"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        try:
            _write_records(unfinished, "train", train, meta)
            _write_records(unfinished, "held_out", held_out, meta)
            np.save(unfinished / "codebooks.npy", codebooks)
            sums = {file.name: _sha256(file) for file in sorted(unfinished.glob("*.npy"))}
            description = dataclasses.asdict(meta) | {"sha256": sums}
            (unfinished / DESCRIPTION).write_text(json.dumps(description, indent=2) + "\n")
            _move_into_place(unfinished, path)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)


def check_writable(path: str | os.PathLike) -> None:
    """Raises UserError where `path` holds something that is not a codes directory."""
    path = pathlib.Path(path)
    if path.exists() and not (path / DESCRIPTION).is_file() and not _is_empty_directory(path):
        raise errors.UserError(
            f"{path} exists and is not a codes directory; name another place for the codes"
        )


def read(path: str | os.PathLike) -> CodesDataset:
    """The codes directory at `path`, every file checked against its sha256, codes left on disk."""
    path = pathlib.Path(path)
    description = _description(path)
    sums = description.pop("sha256", None)
    if not isinstance(sums, dict):
        raise errors.UserError(f"{path / DESCRIPTION} lacks the field 'sha256'; encode again")
    meta = build.build(Meta, description, str(path / DESCRIPTION))
    arrays = {}
    for part in ("codes_train", "labels_train", "codes_held_out", "labels_held_out", "codebooks"):
        file = path / f"{part}.npy"
        if not file.is_file() or _sha256(file) != sums.get(file.name):
            state = "damaged (its sha256 is not the one written)" if file.is_file() else "missing"
            raise errors.UserError(f"{file} is {state}; encode again with `resgen encode`")
        arrays[part] = np.load(file, mmap_mode="r", allow_pickle=False)
    return CodesDataset(
        train=CodesSource(arrays["codes_train"], arrays["labels_train"]),
        held_out=CodesSource(arrays["codes_held_out"], arrays["labels_held_out"]),
        codebooks=np.array(arrays["codebooks"]),
        meta=meta,
        sha256=sums,
    )


def _description(path: pathlib.Path) -> dict[str, Any]:
    try:
        description = json.loads((path / DESCRIPTION).read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise errors.UserError(
            f"{str(path)!r} is not a codes directory (no {DESCRIPTION} in it); write one with "
            f"`resgen encode --workdir=TOKENIZER_RUN --output=DIR` and name it in data.codes"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as failure:
        raise errors.UserError(
            f"{path / DESCRIPTION} is damaged ({failure}); encode again"
        ) from failure
    if not isinstance(description, dict):
        raise errors.UserError(f"{path / DESCRIPTION} holds no fields; encode again")
    return description


def _write_records(folder: pathlib.Path, part: str, batches: Batches, meta: Meta) -> None:
    """Appends batch after batch; the number of records is known, and written, last."""
    dtype = np.dtype(np.uint16 if meta.codebook_size <= 2**16 else np.int32)
    shape = (meta.grid[0] * meta.grid[1], meta.depth)
    with (
        _growing(folder / f"codes_{part}.npy", dtype, shape) as append_codes,
        _growing(folder / f"labels_{part}.npy", np.dtype(np.int32), ()) as append_labels,
    ):
        for codes, labels in batches:
            if len(codes) != len(labels):
                raise ValueError(f"{len(codes)} codes but {len(labels)} labels")
            if codes.size and not 0 <= codes.min() <= codes.max() < meta.codebook_size:
                raise ValueError(f"codes reach outside 0..{meta.codebook_size - 1}")
            append_codes(codes)
            append_labels(labels)


@contextlib.contextmanager
def _growing(path: pathlib.Path, dtype: np.dtype, shape: tuple[int, ...]) -> Iterator:
    """A function that appends rows to an .npy file."""
    count = 0
    with path.open("wb") as file:

        def header():
            # NumPy pads the header so that the first axis can grow without moving the data.
            description = {
                "descr": np.lib.format.dtype_to_descr(dtype),
                "fortran_order": False,
                "shape": (count, *shape),
            }
            file.seek(0)
            np.lib.format.write_array_header_1_0(file, description)
            return file.tell()

        def append(rows):
            nonlocal count
            if rows.shape[1:] != shape:
                raise ValueError(f"rows {rows.shape[1:]} in an array of {shape}")
            file.write(np.ascontiguousarray(rows, dtype).tobytes())
            count += len(rows)

        start = header()
        yield append
        if header() != start:
            raise ValueError("the .npy header changed its length")


def _move_into_place(unfinished: pathlib.Path, path: pathlib.Path) -> None:
    replaced = path.parent / f".{path.name}.replaced-{os.getpid()}"
    if path.exists():
        path.rename(replaced)
    unfinished.rename(path)
    shutil.rmtree(replaced, ignore_errors=True)


def _is_empty_directory(path: pathlib.Path) -> bool:
    return path.is_dir() and not any(path.iterdir())


def _sha256(path: pathlib.Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def _disk_errors(path: pathlib.Path) -> Iterator[None]:
    try:
        yield
    except OSError as failure:
        if failure.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
            raise
        raise errors.UserError(
            f"cannot write the codes to {path} ({failure.strerror}); make room or name another "
            f"place; what was there before is intact"
        ) from failure
