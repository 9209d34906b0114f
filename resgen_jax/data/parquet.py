"""Images in parquet tables as the Hugging Face hub keeps them: columns `image` and `label`.

`image` is a struct with the field `bytes`, or binary; `label` a number or a name. One record costs
the reading of its row group, so shuffled training reads each byte many times unless row groups are
small: array_records.write turns such tables into shards.
"""

import contextlib
import functools
import itertools
import os
import pathlib
import threading
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np
from jaxtyping import Int32

from resgen_jax.core import errors
from resgen_jax.data import fingerprints, images, labels, patterns, records
from resgen_jax.io import json_files, zips

SUFFIXES = (".parquet",)
IMAGE_COLUMNS = ("image", "img", "jpg")
LABEL_COLUMNS = ("label", "labels", "fine_label", "cls")
MOST_GROUPS = 8  # row groups kept in memory
# What pyarrow's own errors derive from.
DAMAGES = (OSError, ValueError, LookupError, TypeError, NotImplementedError)


def _pyarrow() -> ModuleType:
    try:
        from pyarrow import parquet
    except ImportError as failure:
        raise errors.UserError(
            "parquet tables need pyarrow; install it with `pip install resgen_jax[parquet]`"
        ) from failure
    return parquet


class TableImages:
    """The images of some tables; the row groups last used are kept."""

    def __init__(self, paths: Sequence[pathlib.Path], column: str, labels: Int32[np.ndarray, "n"]):
        self.paths, self._column, self._labels = tuple(map(str, paths)), column, labels
        groups = [
            (file, group, metadata.row_group(group).num_rows)
            for file, metadata in enumerate(map(_pyarrow().read_metadata, self.paths))
            for group in range(metadata.num_row_groups)
        ]
        self._groups = [(file, group) for file, group, _ in groups]
        self._starts = np.cumsum([0, *(rows for *_, rows in groups)])
        self._begin()

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> records.EncodedImage:
        number = int(np.searchsorted(self._starts, index, side="right")) - 1
        row = index - int(self._starts[number])
        file, group = self._groups[number]
        name = f"{self.paths[file]} row group {group} row {row}"
        try:
            value = self._rows(number)[row].as_py()
        except DAMAGES as failure:
            raise images.unreadable(name, failure) from failure
        encoded = value.get("bytes") if isinstance(value, dict) else value
        if not isinstance(encoded, bytes):
            raise images.unreadable(name, ValueError("the table holds no bytes of it"))
        return records.EncodedImage(encoded, int(self._labels[index]), name)

    def fingerprint(self) -> str:
        """A digest of the tables."""
        return fingerprints.of_files(self.paths)

    def __getstate__(self) -> dict[str, Any]:
        return {k: v for k, v in self.__dict__.items() if k not in ("_lock", "_loaded")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._begin()

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._loaded = functools.lru_cache(MOST_GROUPS)(self._read)

    def _rows(self, number: int) -> Any:
        """The image column of a row group."""
        with self._lock:  # a table is read by one thread at a time; decoding is not held up
            return self._loaded(number)

    def _read(self, number: int) -> Any:
        file, group = self._groups[number]
        with _opened(self.paths[file], self._column) as table:
            return table.read_row_group(group, columns=[self._column]).column(0)


def open_tables(path: str, held_out_path: str) -> records.Split:
    """Tables of a directory, glob or pattern; class names from the hub's note in the schema."""
    train, held_out = patterns.split_files(path, held_out_path, SUFFIXES, "parquet tables")
    schema = _schema(train[0])
    image_column = _column(schema, IMAGE_COLUMNS, train[0])
    label_column = _column(schema, LABEL_COLUMNS, train[0])
    columns = (image_column, label_column)
    parts = [_labels(paths, columns) for paths in (train, held_out or ())]
    class_names = _class_names(schema, label_column, parts, path)
    by_name: dict[int | str, Any] = {name: number for number, name in enumerate(class_names)}
    opened = [
        TableImages(paths, image_column, np.array([by_name.get(x, x) for x in part], np.int32))
        for paths, part in zip((train, held_out or ()), parts, strict=True)
    ]
    if held_out is None:
        return records.Split(*records.hold_out(opened[0], path), class_names)
    return records.Split(opened[0], opened[1], class_names)


def _opened(path: str | os.PathLike, column: str) -> Any:
    """A table of which a column is read; what stands in it once, for many rows, is kept once."""
    parquet = _pyarrow()
    metadata = parquet.read_metadata(path)
    leaves = [metadata.schema.column(index) for index in range(metadata.num_columns)]
    names = [
        leaf.path
        for leaf in leaves
        if leaf.path.partition(".")[0] == column and leaf.physical_type == "BYTE_ARRAY"
    ]
    return parquet.ParquetFile(path, metadata=metadata, read_dictionary=names)


def _check_sizes(path: pathlib.Path) -> None:
    """Raises ValueError, before anything is unpacked, for a table that would swell absurdly."""
    metadata, size = _pyarrow().read_metadata(path), path.stat().st_size
    if metadata.num_rows > size:
        raise ValueError(f"it claims {metadata.num_rows} rows in {size} bytes")
    # Nothing here asks for a column's own figures: pyarrow aborts where those are damaged.
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    unpacked = max((group.total_byte_size for group in groups), default=0)
    if unpacked > max(zips.FREE_BYTES, zips.MAX_RATIO * size):
        raise ValueError(f"its {size} bytes would unpack to {unpacked} and more")


def _schema(path: pathlib.Path) -> Any:
    with _whole(path):
        return _pyarrow().read_schema(path)


@contextlib.contextmanager
def _whole(path: pathlib.Path) -> Iterator[None]:
    """What pyarrow says of a damaged table as a UserError."""
    try:
        yield
    except errors.UserError:
        raise
    except DAMAGES as failure:
        raise errors.UserError(
            f"{path} cannot be read as a parquet table ({errors.reason(failure)}); bring a whole "
            f"one"
        ) from failure


def _column(schema: Any, names: Sequence[str], path: pathlib.Path) -> str:
    for name in names:
        if name in schema.names:
            return name
    raise errors.UserError(
        f"{path} has no column {' or '.join(map(repr, names))}; it has {', '.join(schema.names)}"
    )


def _labels(paths: Sequence[pathlib.Path], columns: Sequence[str]) -> list[labels.Label]:
    """The last of the `columns`; UserError for a table that is damaged or lacks one of them."""
    found: list[labels.Label] = []
    for path in paths:
        schema = _schema(path)
        *_, column = [_column(schema, (name,), path) for name in columns]
        with _whole(path):
            _check_sizes(path)
            with _opened(path, column) as table:
                chunks = table.read(columns=[column]).column(0).chunks
        values = itertools.chain.from_iterable(map(_values, chunks))
        found += [_label(value, path, row) for row, value in enumerate(values)]
    return found


def _values(chunk: Any) -> list[Any]:
    """The values of a column; equal ones that were stored once are one object."""
    if not hasattr(chunk, "dictionary"):
        return chunk.to_pylist()
    words = chunk.dictionary.to_pylist()
    return [None if index is None else words[index] for index in chunk.indices.to_pylist()]


def _label(value: Any, path: pathlib.Path, row: int) -> labels.Label:
    """A name as it stands, digits too; a number; UserError, naming the row, for what is neither."""
    if isinstance(value, str) and len(value) <= labels.LONGEST_NAME:
        return value
    return labels.of(int(value) if isinstance(value, bool) else value, f"{path} row {row}")


def _class_names(schema, column: str, parts: list[list], where: str) -> tuple[str, ...]:
    """The hub's names, the names in the column itself, or numbers."""
    found = {label for part in parts for label in part}
    if not found:
        raise errors.UserError(f"{where} holds tables without rows; bring some with images")
    if all(isinstance(label, str) for label in found):
        return tuple(sorted(found))
    if not all(isinstance(label, int) and label >= 0 for label in found):
        raise errors.UserError(
            f"{where} has labels such as {min(map(repr, found))}; expected numbers from 0, or names"
        )
    names = _noted_names(schema, column)
    if names is None:
        return records.number_names(max(found) + 1)
    if max(found) >= len(names):
        raise errors.UserError(
            f"{where} has the label {max(found)}, but its schema names {len(names)} classes only"
        )
    return tuple(map(str, names))


def _noted_names(schema: Any, column: str) -> list[Any] | None:
    """The names that the hub's note gives to the classes; None where it gives none."""
    try:
        note = json_files.parse((schema.metadata or {}).get(b"huggingface", b"{}"))
    except ValueError:  # another program's note
        return None
    for name in ("info", "features", column, "names"):
        note = note.get(name) if isinstance(note, dict) else None
    return note if isinstance(note, list) else None
