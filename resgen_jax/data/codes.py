"""The codes directory: a tokenizer's codes of a dataset, with its codebooks, for a generator.

codes_train-00000-of-000NN.array_record and codes_held_out-*: a record is the label (int32) and the
codes "l q" (uint16, or int32 for more than 65,536 entries), little-endian; codebooks.npy "q v c";
codes.json: what they mean, the number of records of every shard, and the sha256 of every file.
"""

import contextlib
import dataclasses
import functools
import os
import pathlib
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, NoReturn

import numpy as np
from jaxtyping import Float32, Int32, Integer

from resgen_jax.core import build, errors, spaces
from resgen_jax.data import shards
from resgen_jax.data.sources import Element
from resgen_jax.io import files, json_files, paths, zips

DESCRIPTION, CODEBOOKS, LOCK = "codes.json", "codebooks.npy", ".lock"
FORMAT = 2  # 1 was .npy files
PARTS = ("train", "held_out")
LABEL = np.dtype("<i4")


@dataclasses.dataclass(frozen=True)
class Meta:
    """What images are as items, the tokenizer's run directory, the names of the classes, the views.

    Every image to train on has 1 + num_crops views, twice as many with `flip`, one record each.
    """

    space: spaces.Space
    image_size: int
    channels: int
    class_names: tuple[str, ...]
    tokenizer: str = ""
    tokenizer_step: int = 0
    crop: str = "center"
    flip: bool = False
    num_crops: int = 0
    random_crop: tuple[float, ...] = ()  # of the crops: least and greatest share of the side

    def __post_init__(self):
        build.check_sizes(self, ("image_size",))
        if self.space.condition != spaces.Class(len(self.class_names)):
            raise errors.UserError(
                f"the space has the condition {self.space.condition}, but there are "
                f"{len(self.class_names)} class_names; expected as many classes"
            )

    @property
    def num_views(self) -> int:
        """Records of each image to train on."""
        return (1 + self.num_crops) * (2 if self.flip else 1)

    def fields(self) -> dict[str, Any]:
        """What files hold of it: those of the space, whose classes are counted, and its own."""
        own = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)[1:]}
        told = spaces.fields_of(self.space)
        del told["num_classes"]
        return told | own


def meta_of(fields: Mapping[str, Any], where: str) -> Meta:
    """The description that `Meta.fields` gave; UserError, which names `where`, for another one."""
    own = [field.name for field in dataclasses.fields(Meta)[1:]]
    told = {name: value for name, value in fields.items() if name not in own}
    names = fields.get("class_names")
    if isinstance(names, list | tuple):
        told["num_classes"] = len(names)
    made = {name: value for name, value in fields.items() if name in own}
    return build.build(Meta, made | {"space": spaces.of_fields(told, where)}, where)


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
        item = meta.space.codes
        dtype = np.dtype("<u2" if item.codebook_size <= 2**16 else "<i4")
        return cls((meta.space.max_length, item.depth), dtype)

    @property
    def num_bytes(self) -> int:
        """Bytes of one record: the label and the codes."""
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
    """Elements `{"codes": int32 "l q", "labels", "index"}` out of shards; threads may share it.

    Raises UserError, naming record and file, for one of another length, a label that is of no class
    and a code that is of no entry, as they are read.
    """

    def __init__(self, records: shards.Records, meta: Meta):
        self._records, self._layout, self._meta = records, Layout.of(meta), meta

    def __len__(self) -> int:
        return len(self._records)

    def __getitem__(self, index: int) -> Element:
        index = int(index)
        record = self._records[index]
        label = self._label(index, record)
        found = self._layout.codes(record)
        codebook_size = self._meta.space.codes.codebook_size
        if not 0 <= found.min() <= found.max() < codebook_size:
            self._refuse(
                index, f"codes from {found.min()} to {found.max()}", f"0 to {codebook_size - 1}"
            )
        return {"codes": found, "labels": label, "index": np.int32(index)}

    def label(self, index: int) -> int:
        """The class of a record."""
        return int(self._label(int(index), self._records[int(index)]))

    @functools.cached_property
    def labels(self) -> Int32[np.ndarray, "n"]:
        """The label of every record; reads all of them once."""
        found = [
            self._label(index, record) for index, record in enumerate(self._records.in_order())
        ]
        return np.array(found, np.int32)

    def _label(self, index: int, record: bytes) -> np.int32:
        num_bytes, num_classes = self._layout.num_bytes, len(self._meta.class_names)
        if len(record) != num_bytes:
            self._refuse(index, f"{len(record)} bytes", str(num_bytes))
        label = label_of(record)
        if not 0 <= label < num_classes:
            self._refuse(index, f"the label {label}", f"0 to {num_classes - 1}")
        return label

    def _refuse(self, index: int, found: str, expected: str) -> NoReturn:
        file, place = self._records.where(index)
        raise errors.UserError(
            f"record {place} of {self._records.paths[file]} holds {found}, but {DESCRIPTION} tells "
            f"of {expected}; encode again with `resgen encode`"
        )

    def __repr__(self) -> str:
        return f"CodesSource({len(self)} records)"


def lock_of(place: paths.Path) -> paths.Path:
    """Where the lock lies of who writes codes there: beside it, and in it for a whole bucket."""
    is_whole_bucket = paths.is_remote(place) and os.fspath(place).count("/") == 2
    return place / LOCK if is_whole_bucket else place.parent / f".{place.name}{LOCK}"


def check_writable(path: str | os.PathLike) -> None:
    """Raises UserError where `path` holds something that is not a codes directory."""
    path = paths.of(path)
    is_empty = path.is_dir() and not set(paths.names_in(path)) - {LOCK}
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
    meta = meta_of(description, str(path / DESCRIPTION))
    if not isinstance(meta.space.item, spaces.Codes):
        raise errors.UserError(
            f"{path} holds latents of {meta.space.latents.channels} channels; expected codes: "
            "encode with a tokenizer that gives codes"
        )
    for name in [CODEBOOKS, *(name for part in PARTS for name in counts[part])]:
        file = folder / name
        if paths.is_remote(path) and not _is_whole(file, sums.get(name)):
            with contextlib.suppress(FileNotFoundError):  # told below
                paths.fetch(path / name, file)
        if not _is_whole(file, sums.get(name)):
            state = "damaged (its sha256 is not the one written)" if file.is_file() else "missing"
            raise errors.UserError(f"{path / name} is {state}; encode again with `resgen encode`")
    train, held_out = (_source(folder, counts[part], meta) for part in PARTS)
    return CodesDataset(
        train,
        held_out,
        codebooks=_codebooks(folder / CODEBOOKS, meta),
        meta=meta,
        sha256=sums,
    )


def _is_whole(file: pathlib.Path, sha256: str | None) -> bool:
    return file.is_file() and files.sha256(file) == sha256


def _source(path: pathlib.Path, counts: dict[str, int], meta: Meta) -> CodesSource:
    found = shards.Records([path / name for name in counts])
    for name, told, there in zip(counts, counts.values(), found.counts, strict=True):
        if told != there:
            raise errors.UserError(
                f"{path / name} holds {there} records, but {DESCRIPTION} tells of {told}; encode "
                "again with `resgen encode`"
            )
    return CodesSource(found, meta)


def _codebooks(file: pathlib.Path, meta: Meta) -> Float32[np.ndarray, "q v c"]:
    shape = meta.space.codes.codebooks_shape
    try:
        # Mapped, not read: a header may claim more than there is memory for.
        found = np.load(file, mmap_mode="r", allow_pickle=False)
    except zips.DAMAGES as failure:
        raise errors.UserError(
            f"{file} is no array ({errors.reason(failure)}); encode again"
        ) from failure
    if found.shape != shape or found.dtype != np.float32:
        raise errors.UserError(
            f"{file} holds {found.dtype} of {str(found.shape)[:80]}, but {DESCRIPTION} tells of "
            f"float32 of {shape}; encode again with `resgen encode`"
        )
    found = np.array(found)
    if not np.isfinite(found).all():
        raise errors.UserError(f"{file} holds NaN or infinity; train the tokenizer again")
    return found


def describe(
    meta: Meta, counts: dict[str, dict[str, int]], sums: dict[str, str], plan: str
) -> dict[str, Any]:
    """The content of codes.json; `plan` is the sha256 of all that decided what the codes are."""
    return {"format": FORMAT, **meta.fields(), "plan": plan, "shards": counts, "sha256": sums}


def plan_of(path: paths.Path) -> str | None:
    """The plan of the codes directory at `path`, None where there is none or a damaged one."""
    try:
        return json_files.parse((path / DESCRIPTION).read_bytes())["plan"]
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _description(path: paths.Path) -> dict[str, Any]:
    """The content of codes.json, of this format and with its files; UserError else."""
    place = path / DESCRIPTION
    try:
        description = json_files.read(place, "encode again")
    except (FileNotFoundError, NotADirectoryError):
        raise errors.UserError(
            f"{str(path)!r} is not a codes directory (no {DESCRIPTION} in it); write one with "
            f"`resgen encode --workdir=TOKENIZER_RUN --output=DIR` and name it in data.codes"
        ) from None
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
    if not all(map(_are_counts, map(description["shards"].get, PARTS))):
        raise errors.UserError(f"{place} lacks the shards of {' or '.join(PARTS)}; encode again")
    for name in (name for part in PARTS for name in description["shards"][part]):
        paths.check_name(name, str(place))
    return description


def _are_counts(shards_of_part: Any) -> bool:
    """Whether it tells the number of records of each shard."""
    return isinstance(shards_of_part, dict) and all(
        isinstance(count, int) and count >= 0 for count in shards_of_part.values()
    )


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
        check_codes(codes, meta.space.codes.codebook_size)
        for row, label in zip(codes, labels, strict=True):
            yield layout.pack(row, int(label))
