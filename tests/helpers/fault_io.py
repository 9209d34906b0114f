"""Errors of a disk under a run in this process, at any of its operations on files.

A small C library stands before libc's functions (LD_PRELOAD): opening, reading, writing, syncing,
renaming, making and removing, whoever calls them, Python, tensorstore or TensorBoard's writer. It
does not reach memory maps and stat. Where no C compiler is, an audit hook stands in, which reaches
the names of files alone (opening, renaming, making, removing), and Python's calls alone.
"""

import contextlib
import ctypes
import functools
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

SOURCE = pathlib.Path(__file__).with_name("fault_io.c")
SCOPES = ("once", "on that file from then on", "on the disk from then on")
BY_NAME = {"open", "os.rename", "os.mkdir", "os.remove", "os.rmdir", "os.truncate", "os.listdir"}


@functools.cache
def _library():
    """The path of the library, built once in a process; None without a compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or not sys.platform.startswith("linux"):
        return None
    place = tempfile.TemporaryDirectory(prefix="resgen-fault-")
    _library.place = place  # as long as this process
    path = pathlib.Path(place.name) / "fault_io.so"
    options = ["-O1", "-shared", "-fPIC", "-o", str(path), str(SOURCE), "-ldl"]
    done = subprocess.run([compiler, *options], capture_output=True, check=False)
    return None if done.returncode else path


@contextlib.contextmanager
def preloaded():
    """Programs started within have the library, if there is one."""
    library, before = _library(), os.environ.get("LD_PRELOAD")
    if library is None:
        yield
        return
    os.environ["LD_PRELOAD"] = " ".join(filter(None, [str(library), before]))
    try:
        yield
    finally:
        os.environ.pop("LD_PRELOAD")
        if before is not None:
            os.environ["LD_PRELOAD"] = before


class Disk:
    """Fails with the errno `code` from operation `at` below `folder` on; 0 = it only counts."""

    def __init__(self, folder, at, scope, code):
        self.folder, self.at, self.scope, self.code = os.path.abspath(folder), at, scope, code
        self.number, self.hits, self.first, self._bad = 0, 0, "", None
        self._calls = ctypes.CDLL(None)
        self._has_library = hasattr(self._calls, "fault_io_arm")

    def __enter__(self):
        if self._has_library:
            below, scope = os.fsencode(self.folder), SCOPES.index(self.scope)
            self._calls.fault_io_arm(below, ctypes.c_long(self.at), scope, self.code)
        else:
            sys.addaudithook(self._hook)
        return self

    def __exit__(self, *error):
        self.scope = "off"
        if self._has_library:
            self._calls.fault_io_disarm()
            self._calls.fault_io_first.restype = ctypes.c_char_p
            self.number, self.hits = self._calls.fault_io_number(), self._calls.fault_io_hits()
            self.first = self._calls.fault_io_first().decode()

    def _hook(self, event, arguments):
        if event not in BY_NAME or self.scope == "off":
            return
        path = arguments[0]
        if not isinstance(path, str | os.PathLike):
            return
        if not os.fspath(path).startswith(f"{self.folder}/"):
            return
        self.number += 1
        is_first = self.number == self.at
        if is_first:
            self._bad, self.first = os.fspath(path), f"{event} {os.fspath(path)}"
        is_bad = self.scope == SCOPES[2] or (self.scope == SCOPES[1] and path == self._bad)
        if is_first or (self.at and self.number > self.at and is_bad):
            self.hits += 1
            raise OSError(self.code, os.strerror(self.code))
