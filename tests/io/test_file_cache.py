"""Handles: each file is opened once, the longest unused is closed, and a copy opens its own."""

import os
import pickle
import threading
from typing import ClassVar

import pytest

from resgen_jax.io import file_cache


class Opened:
    """What `open_one` gives; it counts itself while it lives."""

    alive: ClassVar[list] = []

    def __init__(self, path):
        self.path = path
        Opened.alive.append(path)

    def __del__(self):
        Opened.alive.remove(self.path)


def test_the_longest_unused_is_closed_when_its_last_user_has_let_go():
    open_files = file_cache.Handles(Opened, most=2)
    first = open_files("a")
    assert open_files("a") is first
    open_files("b")
    open_files("a")
    open_files("c")  # b goes, a was used later
    assert sorted(Opened.alive) == ["a", "c"]
    open_files("d")
    assert sorted(Opened.alive) == ["a", "c", "d"]  # somebody still reads a
    del first
    assert sorted(Opened.alive) == ["c", "d"]


def test_a_copy_opens_its_own_and_so_does_a_fork():
    open_files = file_cache.Handles(Opened)
    mine = open_files("a")
    copy = pickle.loads(pickle.dumps(open_files))
    assert copy("a") is not mine
    open_files._process = -1  # as in a child
    assert open_files("a") is not mine


def test_threads_open_a_file_once():
    opened = []
    open_files = file_cache.Handles(lambda path: opened.append(path) or object())
    threads = [threading.Thread(target=open_files, args=("a",)) for _ in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert opened == ["a"]


def test_bytes_are_read_anywhere_and_a_short_file_is_told(tmp_path):
    (tmp_path / "x").write_bytes(bytes(range(100)))
    file = file_cache.Bytes(str(tmp_path / "x"))
    assert file.read(90, 10) == bytes(range(90, 100))
    assert file.read(0, 3) == b"\0\1\2"
    with pytest.raises(OSError, match="x ends before byte 101"):
        file.read(99, 2)
    before = len(os.listdir("/proc/self/fd"))
    del file
    assert len(os.listdir("/proc/self/fd")) == before - 1
    with pytest.raises(FileNotFoundError):
        file_cache.Bytes(str(tmp_path / "y"))
