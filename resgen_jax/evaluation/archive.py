"""NPZ files too large for memory: arrays read where they lie, and written row by row."""

import contextlib
import pathlib
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import numpy as np

from resgen_jax.core import errors
from resgen_jax.io import disks, paths, zips

LOCAL_HEADER = 30  # bytes before a member's name; the lengths of name and extra field end it
Append = Callable[[np.ndarray], None]


def names(path: pathlib.Path) -> tuple[str, ...]:
    """The arrays of an NPZ file; UserError where it is none."""
    with _opened(path) as archive:
        members = archive.namelist()
    return tuple(name.removesuffix(".npy") for name in members if name.endswith(".npy"))


def read(path: pathlib.Path, name: str) -> np.ndarray:
    """One array: mapped from the disk, or in memory where the file is compressed.

    Arrays of Python objects are refused: loading them would run their code.
    """
    with _opened(path) as archive:
        try:
            member = archive.getinfo(f"{name}.npy")
        except KeyError:
            held = ", ".join(names(path)) or "nothing"
            raise errors.UserError(f"{path} holds no array {name!r}; it holds {held}") from None
        try:
            if member.compress_type == zipfile.ZIP_STORED:
                return _mapped(path, member)
            with archive.open(member) as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        except MemoryError:
            raise errors.UserError(
                f"the array {name!r} of {path} claims more than there is memory for"
            ) from None
        except zips.DAMAGES as failure:
            reason = errors.reason(failure)
            raise errors.UserError(
                f"the array {name!r} of {path} cannot be read ({reason}); write the file again"
            ) from failure


class Writer(NamedTuple):
    """Puts arrays into an NPZ file, one after the other; does nothing where it is switched off."""

    archive: zipfile.ZipFile | None

    def array(self, name: str, value: Any) -> None:
        """A whole array."""
        value = np.asarray(value)
        with self.rows(name, value.dtype, value.shape) as append:
            append(value)

    @contextlib.contextmanager
    def rows(
        self, name: str, dtype: np.typing.DTypeLike, shape: tuple[int, ...]
    ) -> Iterator[Append]:
        """A function that appends to an array of this shape, which has to be full at the end."""
        if self.archive is None:
            yield lambda rows: None
            return
        header = {
            "descr": np.lib.format.dtype_to_descr(np.dtype(dtype)),
            "fortran_order": False,
            "shape": shape,
        }
        missing = int(np.prod(shape, dtype=np.int64))
        with self.archive.open(f"{name}.npy", "w", force_zip64=True) as file:
            np.lib.format.write_array_header_1_0(file, header)

            def append(rows: np.ndarray) -> None:
                nonlocal missing
                missing -= rows.size
                file.write(np.ascontiguousarray(rows, dtype).tobytes())

            yield append
        if missing:
            raise ValueError(f"{name} of shape {shape} lacks {missing} of its values")


@contextlib.contextmanager
def writing(path: paths.Path, *, is_on: bool = True) -> Iterator[Writer]:
    """A new NPZ file, whole or not at all; `is_on` is False in all processes but one.

    Stored without compression, so that it can be read where it lies.
    """
    if not is_on:
        yield Writer(None)
        return
    with (
        disks.explained(path),
        paths.writing(path) as place,
        zipfile.ZipFile(place, "w", zipfile.ZIP_STORED) as archive,
    ):
        yield Writer(archive)


@contextlib.contextmanager
def _opened(path: pathlib.Path) -> Iterator[zipfile.ZipFile]:
    try:
        archive = zipfile.ZipFile(path)
        zips.check(archive, path)
    except FileNotFoundError:
        raise errors.UserError(f"there is no file {str(path)!r}") from None
    except zips.DAMAGES as failure:
        raise errors.UserError(
            f"{path} cannot be read as an NPZ file ({errors.reason(failure)}); write it with "
            "numpy.savez or `resgen sample --npz=adm`"
        ) from failure
    with archive:
        yield archive


def _mapped(path: pathlib.Path, member: zipfile.ZipInfo) -> np.ndarray:
    """The array of an uncompressed member, read from the disk as it is used."""
    with path.open("rb") as file:
        file.seek(member.header_offset)
        lengths = struct.unpack("<HH", file.read(LOCAL_HEADER)[-4:])
        file.seek(member.header_offset + LOCAL_HEADER + sum(lengths))
        version = np.lib.format.read_magic(file)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        if version not in readers:
            raise ValueError(f"NPY format {version} is not known")
        shape, is_fortran, dtype = readers[version](file)
        if dtype.hasobject:
            raise ValueError("it holds Python objects")
        if not np.prod(shape, dtype=np.int64):
            return np.empty(shape, dtype)
        order: Literal["F", "C"] = "F" if is_fortran else "C"
        return np.memmap(path, dtype, "r", offset=file.tell(), shape=shape, order=order)
