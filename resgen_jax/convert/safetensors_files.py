"""safetensors files in and out, as flat mappings of NumPy arrays; bfloat16 included."""

import json
import math
import os
import pathlib
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from resgen_jax.core import errors
from resgen_jax.io import json_files

DTYPES: dict[str, Any] = {
    "F64": np.float64,
    "F32": np.float32,
    "F16": np.float16,
    "BF16": ml_dtypes.bfloat16,
    "F8_E4M3": ml_dtypes.float8_e4m3fn,
    "F8_E5M2": ml_dtypes.float8_e5m2,
    "I64": np.int64,
    "I32": np.int32,
    "I16": np.int16,
    "I8": np.int8,
    "U64": np.uint64,
    "U32": np.uint32,
    "U16": np.uint16,
    "U8": np.uint8,
    "BOOL": np.bool_,
    "C64": np.complex64,
}
NAMES = {np.dtype(dtype): name for name, dtype in DTYPES.items()}
MAX_RANK = 32
MAX_HEADER = 100_000_000  # bytes, as the format's own library has it
METADATA = "__metadata__"


def read(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """The arrays by name, read-only views of the file; UserError where it is damaged."""
    return _read(pathlib.Path(path))[0]


def metadata(path: str | os.PathLike) -> dict[str, str]:
    """The file's own notes."""
    return _read(pathlib.Path(path))[1]


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], notes: Mapping[str, str]):
    """Writes the arrays in the order of their names, so that equal contents are equal files."""
    header: dict[str, Any] = {METADATA: dict(notes)} if notes else {}
    end = 0
    arrays = {
        name: np.require(arrays[name], requirements="C")  # keeps the shape () of a scalar
        for name in sorted(arrays)
    }
    for name, array in arrays.items():
        header[name] = {
            "dtype": NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [end, end + array.nbytes],
        }
        end += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        for array in arrays.values():
            file.write(array.reshape(-1).view(np.uint8).data)  # no copy of large arrays


def _read(path: pathlib.Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            header_size = int.from_bytes(file.read(8), "little")
            if not 2 <= header_size <= min(MAX_HEADER, size - 8):
                raise ValueError(f"its header would have {header_size} bytes")
            header = json_files.parse(file.read(header_size))
        start = 8 + header_size
        body = np.memmap(path, np.uint8, "r", start) if size > start else np.zeros(0, np.uint8)
        notes = header.pop(METADATA, {})
        return {name: _array(body, name, entry) for name, entry in header.items()}, dict(notes)
    except OSError as failure:
        raise errors.UserError(f"cannot read {path} ({failure.strerror})") from None
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as failure:
        raise errors.UserError(
            f"{path} is no whole safetensors file ({errors.reason(failure)}); download or "
            "write it again"
        ) from failure


def _array(body: np.ndarray, name: str, entry: Mapping[str, Any]) -> np.ndarray:
    dtype, shape = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"])
    begin, end = entry["data_offsets"]
    if len(shape) > MAX_RANK:
        raise ValueError(f"{name[:80]} has {len(shape)} dimensions")
    if not all(isinstance(number, int) and number >= 0 for number in (*shape, begin, end)):
        raise ValueError(f"{name} has a negative or fractional size")
    if end > len(body) or end - begin != math.prod(shape) * dtype.itemsize:
        raise ValueError(f"{name} of {end - begin} bytes at {begin} does not fit")
    # A copy where the bytes do not begin on a whole number, which NumPy's views need not but XLA.
    return np.frombuffer(body[begin:end], dtype).reshape(shape)
