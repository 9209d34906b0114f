"""Arrays out of PyTorch, safetensors and NumPy files, without PyTorch and without running code."""

import io
import math
import mmap
import os
import pathlib
import struct
import zipfile
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np

from resgen_jax.convert import pickles, safetensors_files
from resgen_jax.core import errors
from resgen_jax.io import zips

Arrays = dict[str, np.ndarray]

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
STORAGES: dict[str, Any] = {
    "Double": np.float64,
    "Float": np.float32,
    "Half": np.float16,
    "BFloat16": ml_dtypes.bfloat16,
    "Long": np.int64,
    "Int": np.int32,
    "Short": np.int16,
    "Char": np.int8,
    "Byte": np.uint8,
    "Bool": np.bool_,
    "ComplexFloat": np.complex64,
    "ComplexDouble": np.complex128,
    "Untyped": np.uint8,
}
# dtypes that PyTorch has no typed storage for
DTYPES: dict[str, Any] = {
    "uint16": np.uint16,
    "uint32": np.uint32,
    "uint64": np.uint64,
    "float8_e4m3fn": ml_dtypes.float8_e4m3fn,
    "float8_e5m2": ml_dtypes.float8_e5m2,
}
DAMAGES = (pickles.Damaged, struct.error, *zips.DAMAGES)
MAX_RANK = 32
LARGEST = 2**48  # of any size or offset, in numbers
MAX_EXPANDED = 2**20  # numbers of a tensor that repeats what its storage holds
MAX_SECTION_DEPTH = 4
MAX_SECTIONS = 64


class Storage(NamedTuple):
    """A run of numbers in the file, by its key."""

    key: str
    dtype: np.dtype
    size: int  # numbers


class Tensor(NamedTuple):
    """How a tensor lies in its storage; offset and strides count numbers."""

    storage: Storage
    dtype: np.dtype
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]


class Contents(NamedTuple):
    """What a file holds: nested mappings with tensors, and their bytes by the storage's key."""

    root: Any
    read_storage: Callable[[Storage], bytes | memoryview]


def read(path: str | os.PathLike, section: str | None = None) -> Arrays:
    """The arrays of a state dict by name: .safetensors, .npz, or PyTorch's format, new or old.

    `section` names a mapping inside the file, e.g. "state_dict" or "trainer/vae_local"; without
    it the arrays at the top are meant. Nothing in the file is run, and only the bytes of these
    arrays are read. Raises UserError for a file of another kind, a damaged or a dangerous one, and
    for a section that is not there, naming those that are.
    """
    path = pathlib.Path(path)
    contents = _open(path)
    found = _sections(contents.root)
    if (section or "") not in found:
        wanted = f"no section {section!r}" if section else "no arrays at its top"
        names = ", ".join(repr(name) for name in found if name) or "none"
        raise errors.UserError(f"{path} has {wanted}; sections with arrays: {names}")
    arrays = {}
    cache: dict[str, Any] = {}
    for name, leaf in found[section or ""].items():
        try:
            arrays[name] = leaf if isinstance(leaf, np.ndarray) else _array(leaf, contents, cache)
        except DAMAGES as failure:
            raise _damaged(path, ValueError(f"{name}: {failure}")) from failure
    return arrays


def sections(path: str | os.PathLike) -> tuple[str, ...]:
    """The sections of a file that hold arrays; "" stands for its top."""
    return tuple(_sections(_open(pathlib.Path(path)).root))


def _open(path: pathlib.Path) -> Contents:
    try:
        with path.open("rb") as file:
            start = file.read(64)
    except OSError as failure:
        raise errors.UserError(
            f"cannot read {path} ({failure.strerror}); name a file of weights"
        ) from None
    readers = [read for magic, read in READERS.items() if start.startswith(magic)]
    if start[8:9] == b"{":
        readers.append(_open_safetensors)
    if not readers:
        raise errors.UserError(f"{path} is no file of weights; {_what_it_is(start)}")
    try:
        return readers[0](path)
    except errors.UserError:
        raise
    except DAMAGES as failure:
        raise _damaged(path, failure) from failure


def _what_it_is(start: bytes) -> str:
    if start.lstrip()[:1] == b"<":
        return "it is a web page: the download was answered by one, download it again"
    if start.startswith(b"version https://git-lfs"):
        return "it is a Git LFS pointer: fetch the file itself with `git lfs pull`"
    if start[:1] == b"\x80":
        return "it is a pickle that PyTorch did not write; save a state dict by torch.save"
    return "expected .safetensors, .npz or what torch.save writes"


def _damaged(path: pathlib.Path, failure: Exception) -> errors.UserError:
    detail = errors.reason(failure)
    return errors.UserError(f"{path} is damaged or cut short ({detail}); download it again")


def _open_safetensors(path: pathlib.Path) -> Contents:
    return Contents(safetensors_files.read(path), _no_storage)


def _open_zip(path: pathlib.Path) -> Contents:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    inside = [name for name in names if name.split("/", 1)[-1] == "data.pkl"]
    if not inside:
        if any(name.endswith(".npy") for name in names):
            return _open_npz(path)
        raise errors.UserError(f"{path} is an archive without weights; unpack it and name a file")
    prefix = inside[0].removesuffix("data.pkl")
    if f"{prefix}constants.pkl" in names:
        raise errors.UserError(
            f"{path} is a TorchScript program, not a state dict; in PyTorch, save "
            "torch.jit.load(FILE).state_dict() and name that file"
        )
    return _open_torch_zip(path, prefix)


def _open_npz(path: pathlib.Path) -> Contents:
    try:
        with zipfile.ZipFile(path) as archive:
            zips.check(archive, path)
        with np.load(path, allow_pickle=False) as arrays:
            return Contents(dict(arrays), _no_storage)
    except MemoryError:
        raise zipfile.BadZipFile("an array claims more than there is memory for") from None
    except ValueError as failure:
        raise errors.UserError(
            f"{path} holds an array that is not plain numbers ({errors.reason(failure)}); save "
            "it without"
        ) from failure


def _open_torch_zip(path: pathlib.Path, prefix: str) -> Contents:
    archive = zipfile.ZipFile(path)
    zips.check(archive, path)

    def entry(name: str) -> bytes:
        info = archive.getinfo(prefix + name)
        # What torch.save writes is never compressed, so no entry can be larger than the file.
        if info.compress_type != zipfile.ZIP_STORED or info.file_size != info.compress_size:
            raise zipfile.BadZipFile(f"{info.filename} is compressed")
        return archive.read(info)

    # Older files do not say.
    if f"{prefix}byteorder" in archive.namelist() and entry("byteorder") != b"little":
        raise errors.UserError(f"{path} was written by a big-endian machine; save it again")
    root = pickles.load(io.BytesIO(entry("data.pkl")), BUILDERS, _storage, str(path))
    return Contents(root, lambda storage: entry(f"data/{storage.key}"))


def _open_legacy(path: pathlib.Path) -> Contents:
    """Four pickles (magic, version, system, data), the keys of the storages, then their bytes."""
    with path.open("rb") as opened:
        file = mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ)
    storages: dict[str, Storage] = {}

    def look_up(reference: Any) -> Storage:
        storage = _storage(reference)
        return storages.setdefault(storage.key, storage)

    for _ in range(3):
        pickles.load(file, {}, _storage, str(path))
    root = pickles.load(file, BUILDERS, look_up, str(path))
    places = {}
    for key in pickles.load(file, {}, _storage, str(path)):
        if not isinstance(key, str) or key not in storages:
            raise pickles.Damaged("a storage belongs to nothing")
        (size,) = struct.unpack("<q", file.read(8))
        num_bytes = size * storages[key].dtype.itemsize
        if size < 0 or file.tell() + num_bytes > len(file):
            raise pickles.Damaged(f"storage {key!r} ends behind the end of the file")
        places[key] = slice(file.tell(), file.tell() + num_bytes)
        file.seek(num_bytes, os.SEEK_CUR)
    view = memoryview(file)
    return Contents(root, lambda storage: view[places[storage.key]])


def _no_storage(storage: Storage) -> bytes:
    raise KeyError(storage.key)


READERS: dict[bytes, Callable[[pathlib.Path], Contents]] = {
    b"PK\x03\x04": _open_zip,
    LEGACY_MAGIC: _open_legacy,
}


def _storage(reference: Any) -> Storage:
    """The storage that a persistent id means: ("storage", type, key, device, numbers)."""
    if not isinstance(reference, tuple) or not 5 <= len(reference) <= 6:
        raise ValueError("a reference to no storage")
    kind, name, key, _, size, *views = reference
    if not all(isinstance(text, str) for text in (kind, key)) or kind != "storage":
        raise ValueError("a reference to no storage")
    if not isinstance(name, pickles.Name) or not isinstance(size, int) or not 0 <= size < LARGEST:
        raise ValueError("a storage without a type or with an absurd size")
    if any(views):
        raise ValueError("it holds views of storages, a format from before PyTorch 0.4")
    return Storage(key, np.dtype(_STORAGE_NAMES[name.text]), size)


def _tensor(storage: Storage, offset: int, shape: tuple, strides: tuple, *_: Any) -> Tensor:
    return _checked(storage, storage.dtype, offset, shape, strides)


def _tensor_of_dtype(
    storage: Storage, offset: int, shape: tuple, strides: tuple, _grad, _hooks, dtype, *_: Any
) -> Tensor:
    dtype = np.dtype(DTYPES[dtype.text.removeprefix("torch.")])
    storage = storage._replace(dtype=dtype, size=storage.size // dtype.itemsize)
    return _checked(storage, dtype, offset, shape, strides)


def _checked(storage, dtype, offset, shape, strides) -> Tensor:
    if not all(
        isinstance(part, tuple | list) and len(part) <= MAX_RANK for part in (shape, strides)
    ):
        raise ValueError(f"a tensor without a shape, or of more than {MAX_RANK} dimensions")
    numbers = (offset, *shape, *strides)
    if not all(isinstance(number, int) and 0 <= number < LARGEST for number in numbers):
        raise ValueError("a tensor with a negative, fractional or absurd size")
    if math.prod(shape) > max(storage.size, MAX_EXPANDED):
        raise ValueError(f"a tensor of {math.prod(shape)} numbers out of {storage.size}")
    last = offset + sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
    if math.prod(shape) and last >= storage.size:
        raise ValueError(f"a tensor reaches behind the end of storage {storage.key}")
    return Tensor(storage, dtype, offset, tuple(shape), tuple(strides))


def _array(tensor: Tensor, contents: Contents, cache: dict[str, Any]) -> np.ndarray:
    """The tensor as a read-only view of its storage, which tensors may share."""
    if not math.prod(tensor.shape):
        return np.zeros(tensor.shape, tensor.dtype)
    storage, dtype = tensor.storage, tensor.dtype
    if storage.key not in cache:
        cache[storage.key] = contents.read_storage(storage)
    held = cache[storage.key]
    if len(held) < storage.size * dtype.itemsize:
        raise ValueError(f"storage {storage.key} has {len(held)} bytes")
    numbers = np.frombuffer(held, dtype, storage.size)[tensor.offset :]
    strides = [stride * dtype.itemsize for stride in tensor.strides]
    return np.lib.stride_tricks.as_strided(numbers, tensor.shape, strides, writeable=False)


def _sections(root: Any) -> dict[str, dict[str, Any]]:
    """The mappings that hold arrays, by path; a path's length and their number are bounded."""
    found: dict[str, dict[str, Any]] = {}
    seen: set[int] = set()

    def walk(node: Any, path: tuple[str, ...]) -> None:
        if not isinstance(node, Mapping) or len(path) > MAX_SECTION_DEPTH or id(node) in seen:
            return
        seen.add(id(node))
        named = {name: leaf for name, leaf in node.items() if isinstance(name, str)}
        arrays = {n: leaf for n, leaf in named.items() if isinstance(leaf, Tensor | np.ndarray)}
        if arrays and len(found) < MAX_SECTIONS:
            found["/".join(path)] = arrays
        for name, leaf in named.items():
            if len(found) < MAX_SECTIONS:
                walk(leaf, (*path, name))

    walk(root, ())
    return found


_STORAGE_NAMES = {
    f"{module}.{name}Storage": dtype
    for name, dtype in STORAGES.items()
    for module in ("torch", "torch.cuda", "torch.storage")
}
BUILDERS: pickles.Builders = {
    "collections.OrderedDict": pickles.mapping,
    "torch._utils._rebuild_tensor": _tensor,
    "torch._utils._rebuild_tensor_v2": _tensor,
    "torch._utils._rebuild_tensor_v3": _tensor_of_dtype,
    "torch._utils._rebuild_parameter": lambda tensor, *_: tensor,
    "torch._utils._rebuild_parameter_with_state": lambda tensor, *_: tensor,
    # Only named, never called.
    **{name: lambda *_: pickles.Opaque() for name in _STORAGE_NAMES},
    **{f"torch.{name}": lambda *_: pickles.Opaque() for name in DTYPES},
}
