"""The codes directory: a tokenizer's codes of a dataset, with its codebooks, for a generator.

codes_train-00000-of-000NN.array_record and codes_held_out-*: a record is the label (int32) and the
codes "l q" (uint16, or int32 for more than 65,536 entries), little-endian; codebooks.npy "q v c";
codes.json: what they mean, the number of records of every shard, and the sha256 of every file.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float32, Int32, Integer

from resgen_jax.core import build, errors
from resgen_jax.data import paths, shards
from resgen_jax.data.sources import Element

DESCRIPTION, CODEBOOKS = "codes.json", "codebooks.npy"
FORMAT = 2  # 1 was .npy files
PARTS = ("train", "held_out")
LABEL = np.dtype("<i4")


@dataclasses.dataclass(frozen=True)
class Meta:
    """The tokenizer's sizes, its run directory, the names of the classes, and the views of images.

    `num_beams` is how many prefixes its search for codes keeps.
    Every image to train on has 1 + num_crops views, twice as many with `flip`, one record each.
    """

    grid: tuple[int, int]
    depth: int
    codebook_size: int
    code_dim: int
    image_size: int
    channels: int
    class_names: tuple[str, ...]
    tokenizer: str = ""
    tokenizer_step: int = 0
    crop: str = "center"
    flip: bool = False
    num_crops: int = 0
    random_crop: tuple[float, ...] = ()  # of the crops: least and greatest share of the side
    num_beams: int = 1

    @property
    def num_views(self) -> int:
        """Records of each image to train on."""
        return (1 + self.num_crops) * (2 if self.flip else 1)


class CodesDataset(NamedTuple):
    """Codes to train on and held out, with the codebooks they point into."""

    train: "CodesSource"
    held_out: "CodesSource"
    codebooks: Float32[np.ndarray, "q v c"]
    meta: Meta
    sha256: dict[str, str]  # of every file: what tells one directory from another


class Layout(NamedTuple):
    """How codes lie in a record."""

    shape: tuple[int, int]
    dtype: np.dtype

    @classmethod
    def of(cls, meta: Meta) -> "Layout":
        """The layout of codes of these sizes."""
        dtype = np.dtype("<u2" if meta.codebook_size <= 2**16 else "<i4")
        return cls((meta.grid[0] * meta.grid[1], meta.depth), dtype)

    @property
    def num_bytes(self) -> int:
        """Of one record."""
        return LABEL.itemsize + self.shape[0] * self.shape[1] * self.dtype.itemsize

    def pack(self, codes: Integer[np.ndarray, "l q"], label: int) -> bytes:
        """One record."""
        if codes.shape != self.shape:
            raise ValueError(f"codes {codes.shape} where {self.shape} are stored")
        return LABEL.type(label).tobytes() + np.ascontiguousarray(codes, self.dtype).tobytes()

    def codes(self, record: bytes) -> Int32[np.ndarray, "l q"]:
        """The codes of a record."""
        stored = np.frombuffer(record, self.dtype, offset=LABEL.itemsize)
        return stored.reshape(self.shape).astype(np.int32)


def label_of(record: bytes) -> np.int32:
    """The label of a record."""
    return np.int32(int.from_bytes(record[: LABEL.itemsize], "little", signed=True))


class CodesSource:
    """Elements `{"codes": int32 "l q", "labels", "index"}` out of shards; threads may share it."""

    def __init__(self, records: shards.Records, layout: Layout):
        self._records, self._layout = records, layout

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Element:
        index = int(index)
        record = self._records[index]
        return {
            "codes": self._layout.codes(record),
            "labels": label_of(record),
            "index": np.int32(index),
        }

    def label(self, index: int) -> int:
        """The class of a record."""
        return int(label_of(self._records[int(index)]))

    @functools.cached_property
    def labels(self) -> Int32[np.ndarray, "n"]:
        """The label of every record; reads all of them once."""
        return np.array([label_of(record) for record in self._records.in_order()], np.int32)

    def __repr__(self) -> str:
        return f"CodesSource({len(self)} records)"


def check_writable(path: str | os.PathLike) -> None:
    """Raises UserError where `path` holds something that is not a codes directory."""
    path = paths.of(path)
    is_empty = path.is_dir() and not any(path.iterdir())
    if path.exists() and not (path / DESCRIPTION).is_file() and not is_empty:
        raise errors.UserError(
            f"{path} exists and is not a codes directory; name another place for the codes"
        )


def read(path: str | os.PathLike) -> CodesDataset:
    """The codes directory at `path`, every file checked against its sha256, codes left on disk.

    One in a bucket is copied into a cache on this machine, where what is whole is not copied again.
    """
    path = paths.of(path)
    folder = paths.working_copy(path, "read")
    description = _description(path)
    counts, sums = description.pop("shards"), description.pop("sha256")
    description.pop("plan", None)
    meta = build.build(Meta, description, str(path / DESCRIPTION))
    for name in [CODEBOOKS, *(name for part in PARTS for name in counts[part])]:
        file = folder / name
        if paths.is_remote(path) and not _is_whole(file, sums.get(name)):
            with contextlib.suppress(FileNotFoundError):  # told below
                paths.fetch(path / name, file)
        if not _is_whole(file, sums.get(name)):
            state = "damaged (its sha256 is not the one written)" if file.is_file() else "missing"
            raise errors.UserError(f"{path / name} is {state}; encode again with `resgen encode`")
    return CodesDataset(
        *(_source(folder, counts[part], meta) for part in PARTS),
        codebooks=np.load(folder / CODEBOOKS, allow_pickle=False),
        meta=meta,
        sha256=sums,
    )


def _is_whole(file: pathlib.Path, sha256: str | None) -> bool:
    return file.is_file() and shards.sha256(file) == sha256


def _source(path: pathlib.Path, counts: dict[str, int], meta: Meta) -> CodesSource:
    layout = Layout.of(meta)
    records = shards.Records([path / name for name in counts], counts.values())
    if len(records) and len(records[0]) != layout.num_bytes:
        raise errors.UserError(
            f"{path} holds records of {len(records[0])} bytes, but {DESCRIPTION} tells of "
            f"{layout.num_bytes}; encode again with `resgen encode`"
        )
    return CodesSource(records, layout)


def describe(
    meta: Meta, counts: dict[str, dict[str, int]], sums: dict[str, str], plan: str
) -> dict[str, Any]:
    """The content of codes.json; `plan` is the sha256 of all that decided what the codes are."""
    fields = dataclasses.asdict(meta)
    return {"format": FORMAT, **fields, "plan": plan, "shards": counts, "sha256": sums}


def plan_of(path: paths.Path) -> str | None:
    """The plan of the codes directory at `path`, None where there is none or a damaged one."""
    try:
        return json.loads((path / DESCRIPTION).read_text())["plan"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _description(path: paths.Path) -> dict[str, Any]:
    """The content of codes.json, of this format and with its files; UserError else."""
    place = path / DESCRIPTION
    try:
        description = json.loads(place.read_text())
    except (FileNotFoundError, NotADirectoryError):
        raise errors.UserError(
            f"{str(path)!r} is not a codes directory (no {DESCRIPTION} in it); write one with "
            f"`resgen encode --workdir=TOKENIZER_RUN --output=DIR` and name it in data.codes"
        ) from None
    except (UnicodeDecodeError, json.JSONDecodeError) as failure:
        raise errors.UserError(f"{place} is damaged ({failure}); encode again") from failure
    if not isinstance(description, dict):
        raise errors.UserError(f"{place} holds no fields; encode again")
    found = description.pop("format", 1)
    if found != FORMAT:
        age = "an older" if found == 1 else "another"
        raise errors.UserError(
            f"{path} holds codes in {age} format ({found}; this version reads {FORMAT}); encode "
            f"again with `resgen encode`"
        )
    for name, kind in (("sha256", dict), ("shards", dict)):
        if not isinstance(description.get(name), kind):
            raise errors.UserError(f"{place} lacks the field {name!r}; encode again")
    if not all(isinstance(description["shards"].get(part), dict) for part in PARTS):
        raise errors.UserError(f"{place} lacks the shards of {' or '.join(PARTS)}; encode again")
    return description


def check_codes(codes: Integer[np.ndarray, "n l q"], codebook_size: int) -> None:
    """Raises ValueError for codes that point outside the codebook."""
    if codes.size and not 0 <= codes.min() <= codes.max() < codebook_size:
        raise ValueError(f"codes reach outside 0..{codebook_size - 1}")


def pack(
    batches: Iterable[tuple[Integer[np.ndarray, "_ l q"], Integer[np.ndarray, "_"]]], meta: Meta
) -> Iterable[bytes]:
    """The records of batches of (codes, labels)."""
    layout = Layout.of(meta)
    for codes, labels in batches:
        check_codes(codes, meta.codebook_size)
        for row, label in zip(codes, labels, strict=True):
            yield layout.pack(row, int(label))
