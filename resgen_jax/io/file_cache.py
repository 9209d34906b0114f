"""Open files that are shared by threads, closed when too many, and left behind when pickled."""

import functools
import os
import threading
from collections.abc import Callable
from typing import Any

MOST_OPEN = 256  # far below the usual limit of 1,024 open files a process


class Handles:
    """`handles(path)` is `open_one(path)`, opened once and kept while it is among the latest used.

    A handle that falls out is closed when the last thread has let go of it, so `open_one` has to
    return something that closes itself. Pickled or forked, it opens its files anew.
    """

    def __init__(self, open_one: Callable[[str], Any], most: int = MOST_OPEN):
        self._open_one, self._most = open_one, most
        self._begin()

    def __call__(self, path: str) -> Any:
        if self._process != os.getpid():
            self._begin()
        with self._lock:
            return self._opened(path)

    def __getstate__(self) -> dict[str, Any]:
        return {"open_one": self._open_one, "most": self._most}

    def __setstate__(self, state: dict[str, Any]) -> None:
        Handles.__init__(self, state["open_one"], state["most"])

    def _begin(self) -> None:
        self._opened = functools.lru_cache(self._most)(self._open_one)
        self._lock, self._process = threading.Lock(), os.getpid()


class Bytes:
    """Any piece of a file; it has no position, so threads do not disturb each other."""

    def __init__(self, path: str):
        self._path = path
        self._file = os.open(path, os.O_RDONLY)

    def read(self, offset: int, size: int) -> bytes:
        """`size` bytes from `offset`; OSError where the file is shorter."""
        found = os.pread(self._file, size, offset)
        if len(found) != size:
            raise OSError(f"{self._path} ends before byte {offset + size}")
        return found

    def __del__(self):
        if hasattr(self, "_file"):
            os.close(self._file)
