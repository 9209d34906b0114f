"""Bounds on zip archives of strangers, looked at before anything in them is unpacked."""

import os
import pathlib
import tokenize
import zipfile
import zlib

MAX_RATIO = 100  # unpacked over packed bytes; digits of MNIST as float32 come to 13
FREE_BYTES = 2**25  # what an archive may unpack to whatever the ratio
# What readers of archives and of NumPy's arrays in them raise for bytes that are none.
DAMAGES = (
    zipfile.BadZipFile,
    zlib.error,
    tokenize.TokenError,  # of a header that is no Python
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    OverflowError,
    EOFError,
    OSError,
    NotImplementedError,  # of a packing that Python does not know
    RuntimeError,  # of encrypted entries
)


def check(archive: zipfile.ZipFile, path: str | os.PathLike) -> None:
    """Raises BadZipFile for entries that overlap, and for an archive that would swell absurdly."""
    size = pathlib.Path(path).stat().st_size
    entries = archive.infolist()
    if sum(entry.compress_size for entry in entries) > size:
        raise zipfile.BadZipFile("its entries overlap")
    unpacked = sum(entry.file_size for entry in entries)
    if unpacked > max(FREE_BYTES, MAX_RATIO * size):
        raise zipfile.BadZipFile(f"its {size} bytes would unpack to {unpacked}")
