"""safetensors files in and out by their own library, as flat mappings of NumPy arrays."""

import contextlib
import os
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import ml_dtypes
import numpy as np
import safetensors
import safetensors.numpy

from resgen_jax.core import errors

MAX_RANK = 32
# What the library does not make NumPy arrays of.
FLOAT8: dict[str, Any] = {
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
}


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays by name; UserError where the file is damaged."""
    with _opened(path) as file:
        kinds = {name: file.get_slice(name).get_dtype() for name in sorted(file.keys())}
        raw = _raw(path) if FLOAT8.keys() & set(kinds.values()) else {}
        return {
            name: _float8(raw[name]) if kind in FLOAT8 else file.get_tensor(name)
            for name, kind in kinds.items()
        }


def shapes(path: str | os.PathLike) -> dict[str, tuple[int, ...]]:
    """The shapes of the arrays, of which no number is read; UserError where it is damaged."""
    with _opened(path) as file:
        return {name: tuple(file.get_slice(name).get_shape()) for name in sorted(file.keys())}


def metadata(path: str | os.PathLike) -> dict[str, str]:
    """The file's own notes."""
    with _opened(path) as file:
        return file.metadata() or {}


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], notes: Mapping[str, str]):
    """Writes the arrays; equal contents are equal files. Raises OSError."""
    whole = {name: np.require(array, requirements="C") for name, array in arrays.items()}
    # Its own way to a file keeps that file from other users, and has its own errors of the disk.
    pathlib.Path(path).write_bytes(safetensors.numpy.save(whole, dict(notes) or None))


@contextlib.contextmanager
def _opened(path: str | os.PathLike) -> Iterator[Any]:
    try:
        open(path, "rb").close()  # the library's words for what the system refuses say less
        with safetensors.safe_open(path, "numpy") as file:
            for name in file.keys():  # noqa: SIM118
                rank = len(file.get_slice(name).get_shape())
                if rank > MAX_RANK:
                    raise ValueError(f"{name[:80]} has {rank} dimensions")
            yield file
    except OSError as failure:
        reason = failure.strerror or errors.reason(failure)
        raise errors.UserError(f"cannot read {path} ({reason})") from None
    except (safetensors.SafetensorError, ValueError) as failure:
        raise errors.UserError(
            f"{path} is no whole safetensors file ({errors.reason(failure)}); download or "
            "write it again"
        ) from failure


def _raw(path: str | os.PathLike) -> dict[str, Any]:
    return dict(safetensors.deserialize(pathlib.Path(path).read_bytes()))


def _float8(entry: Mapping[str, Any]) -> np.ndarray:
    return np.frombuffer(entry["data"], FLOAT8[entry["dtype"]]).reshape(entry["shape"])
