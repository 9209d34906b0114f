"""ArrayRecord files: written whole or not at all, and read by record number over many of them."""

import bisect
import contextlib
import itertools
import os
import pathlib
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from array_record.python import array_record_module

from resgen_jax.core import errors
from resgen_jax.io import disks, file_cache, files

SUFFIX = ".array_record"
# One record a group: any record is read alone. Codes and JPEGs do not get smaller by packing.
WRITER_OPTIONS = "group_size:1,uncompressed"
READER_OPTIONS = "readahead_buffer_size:0,max_parallelism:0"
READER_BUFFER = 2**16  # bytes; a reader allocates it once
RANGE = 4096  # records at a time where all are read


class Written(NamedTuple):
    """A finished file: how many records it holds, and its sha256."""

    num_records: int
    sha256: str


def name(stem: str, number: int, count: int) -> str:
    """`stem-00003-of-00010.array_record`."""
    return f"{stem}-{number:05d}-of-{count:05d}{SUFFIX}"


def write(path: str | os.PathLike, records: Iterable[bytes]) -> Written:
    """The file `path` of these records; it has its name only once it is whole and on disk.

    The same records give the same bytes. Raises OSError when the disk is full.
    """
    path = pathlib.Path(path)
    with files.replacing(path) as unfinished:
        num_records = _write(unfinished, records)
        digest = files.sha256(unfinished)
        files.sync(unfinished)
    return Written(num_records, digest)


def _write(path: pathlib.Path, records: Iterable[bytes]) -> int:
    num_records = 0
    path.touch()  # the writer's own message for a place that cannot be written says less
    writer = array_record_module.ArrayRecordWriter(str(path), WRITER_OPTIONS)
    try:
        for record in records:
            writer.write(record)
            num_records += 1
        writer.close()
    except RuntimeError as failure:  # how the writer reports the disk
        raise disks.error_of(failure, path) from failure
    finally:
        if writer.is_open():
            with contextlib.suppress(RuntimeError):  # some versions report the disk a second time
                writer.close()
    return num_records


class Records(Sequence):
    """The records of some ArrayRecord files, one file after the other."""

    def __init__(self, paths: Iterable[str | os.PathLike]):
        self.paths = tuple(str(path) for path in paths)
        self._readers = file_cache.Handles(open_reader)
        self.counts = tuple(self._readers(path).num_records() for path in self.paths)
        self._starts = (0, *itertools.accumulate(self.counts))

    def __len__(self) -> int:
        return self._starts[-1]

    def __getitem__(self, index: int) -> bytes:  # type: ignore[override]  # of no slices
        file, position = self.where(index)
        return self._read(self.paths[file], [position])[0]

    def where(self, index: int) -> tuple[int, int]:
        """The number of the file that holds record `index`, and the place within it."""
        if not 0 <= index < len(self):
            raise IndexError(f"record {index} of {len(self)}")
        file = bisect.bisect_right(self._starts, index) - 1
        return file, index - self._starts[file]

    def in_order(self) -> Iterator[bytes]:
        """All records, read many at a time."""
        for path, start, stop in zip(self.paths, self._starts, self._starts[1:], strict=False):
            for first in range(0, stop - start, RANGE):
                yield from self._read(path, first, min(first + RANGE, stop - start))

    def _read(self, path: str, *which: Any) -> Any:
        """Records of one file by its reader; UserError where they are damaged."""
        try:
            return self._readers(path).read(*which)
        except RuntimeError as failure:
            raise errors.UserError(
                f"{path} is damaged ({errors.reason(failure)}); bring it back, or write it again"
            ) from failure

    def __repr__(self) -> str:
        return f"Records({len(self)} in {len(self.paths)} files)"


def open_reader(path: str) -> Any:
    """A reader of one file; UserError where it is none."""
    if not pathlib.Path(path).is_file():
        raise errors.UserError(f"{path} is not there; bring it back, or write the shards again")
    reader = array_record_module.ArrayRecordReader(
        path, READER_OPTIONS, file_reader_buffer_size=READER_BUFFER
    )
    if not reader.ok():
        reason = "no ArrayRecord file, or only the beginning of one"
        raise errors.UserError(f"{path} cannot be read ({reason}); write it again")
    return reader
