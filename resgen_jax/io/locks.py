"""One writer at a time for a directory, on any disk and in buckets: a file with a heartbeat.

FOLDER/N.json names who holds it, and is written anew every few seconds. A lock whose process is
gone is passed over by making N + 1, which only one can do: a file that must not be there yet.
"""

import contextlib
import itertools
import json
import os
import secrets
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from resgen_jax.core import errors
from resgen_jax.io import json_files, machine, paths

SECONDS_BETWEEN, SECONDS_BETWEEN_IN_BUCKET = 5.0, 20.0
# A disk of a network may show what another machine wrote only after a minute.
SECONDS_TO_LIVE = 90.0
SECONDS_BETWEEN_LOOKS = 1.0
LOST = 2  # exit code
Say = Callable[[str], None]


class Lock(NamedTuple):
    """A lock as it was found: its number, and the content of its file."""

    number: int
    content: bytes

    @property
    def fields(self) -> dict[str, Any]:
        """What the file says; nothing where it is damaged."""
        try:
            fields = json_files.parse(self.content)
        except ValueError:
            return {}
        return fields if isinstance(fields, dict) else {}

    def holder(self) -> str:
        """`process 12 on HOST`."""
        fields = self.fields
        return f"process {fields.get('pid', '?')} on {fields.get('host', 'an unknown host')}"


@contextlib.contextmanager
def held(folder: paths.Path, what: str, way_out: str, say: Say) -> Iterator[None]:
    """Holds the lock `folder`, for `what` the user named, as long as the block runs.

    A lock of another machine that may be gone is watched for as long as its heartbeat may take;
    `say` hears of it. Raises UserError, with `way_out`, where its holder lives.
    """
    token = secrets.token_hex(8)
    try:
        number = _take(folder, token, what, way_out, say)
    except OSError as failure:
        raise errors.UserError(
            f"cannot write the lock of {what} ({failure.strerror}); {way_out}"
        ) from failure
    heart = _Heart(folder, number, token, what)
    try:
        with heart:
            yield
    finally:
        _remove(folder, number)


def _take(folder: paths.Path, token: str, what: str, way_out: str, say: Say) -> int:
    """The number of the lock that was made, once no other one lives."""
    while True:
        found = _locks(folder)
        for lock in found:
            if _lives(folder, lock, what, say):
                raise errors.UserError(
                    f"{what} is in use: {lock.holder()} is writing there; wait until it ends, stop "
                    f"it, or {way_out}"
                )
        number = max((lock.number for lock in found), default=0) + 1
        if not _create(folder, number, token):
            continue
        others = [lock for lock in _locks(folder) if lock.number != number and lock not in found]
        if not others:
            for lock in found:
                _remove(folder, lock.number)
            return number
        _remove(folder, number)  # two came at once: both step back, for times that differ
        time.sleep(secrets.randbelow(1000) / 1000)


def _create(folder: paths.Path, number: int, token: str) -> bool:
    """Whether this process made the file, which was not there."""
    path = folder / f"{number}.json"
    if paths.create(path, _content(token)):
        return True
    mine = [lock for lock in _locks(folder) if lock.number == number]
    return any(lock.fields.get("token") == token for lock in mine)  # the answer alone was lost


def _locks(folder: paths.Path) -> list[Lock]:
    """All that lie there, the newest first."""
    found = []
    for name in paths.names_in(folder):
        stem, _, suffix = name.rpartition(".")
        if suffix == "json" and stem.isdecimal():
            with contextlib.suppress(FileNotFoundError):  # given back meanwhile
                found.append(Lock(int(stem), (folder / name).read_bytes()))
    return sorted(found, reverse=True)


def _lives(folder: paths.Path, lock: Lock, what: str, say: Say) -> bool:
    """Whether the holder of a lock is at work; looked at, or waited for where it is elsewhere."""
    if lock.fields.get("machine") == machine.identity():
        return machine.is_alive(lock.fields.get("pid"), lock.fields.get("process_began"))
    say(
        f"{what} was last written by {lock.holder()}, which may be gone: waiting for a sign of "
        f"life, {SECONDS_TO_LIVE:g} s at most"
    )
    deadline = time.monotonic() + SECONDS_TO_LIVE
    while time.monotonic() < deadline:
        time.sleep(SECONDS_BETWEEN_LOOKS)
        now = {each.number: each for each in _locks(folder)}
        if lock.number not in now:
            return False
        if now[lock.number] != lock:
            return True
    return False


def _content(token: str, beat: int = 0) -> bytes:
    fields = {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "process_began": machine.process_began(os.getpid()),
        "machine": machine.identity(),
        "unix_time": time.time(),
        "beat": beat,
        "token": token,
    }
    return (json.dumps(fields) + "\n").encode()


def _remove(folder: paths.Path, number: int) -> None:
    with contextlib.suppress(Exception):  # whoever comes next sees that nobody holds it
        (folder / f"{number}.json").unlink()
    if not paths.is_remote(folder):
        with contextlib.suppress(OSError):
            folder.rmdir()


class _Heart:
    """A thread that shows that the holder lives, and sees whether another took its place."""

    def __init__(self, folder: paths.Path, number: int, token: str, what: str):
        self._folder, self._number, self._token, self._what = folder, number, token, what
        is_remote = paths.is_remote(folder)
        self._seconds = SECONDS_BETWEEN_IN_BUCKET if is_remote else SECONDS_BETWEEN
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="lock", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        for beat in itertools.count(1):
            if self._ended.wait(self._seconds):
                return
            with contextlib.suppress(Exception):  # a disk may be gone for a while
                self._beat(beat)

    def _beat(self, beat: int) -> None:
        others = [lock for lock in _locks(self._folder) if lock.number > self._number]
        if others and not self._ended.is_set():
            # This process stood still so long that it was taken for gone. It must write no more.
            text = f"{self._what} was taken over by {others[0].holder()} while this one stood still"
            if sys.__stderr__ is not None:  # there is none without a console
                os.write(sys.__stderr__.fileno(), f"error: {errors.shown(text)}\n".encode())
            os._exit(LOST)
        paths.write(self._folder / f"{self._number}.json", _content(self._token, beat))
