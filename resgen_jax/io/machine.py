"""Which machine this is, and whether a process of it is alive."""

import contextlib
import functools
import os
import pathlib
import socket

BOOT, NAMESPACE = pathlib.Path("/proc/sys/kernel/random/boot_id"), "/proc/self/ns/pid"


@functools.cache
def identity() -> str:
    """The same for two processes where one can see whether the other is alive, and only there.

    By Linux's number of this start of the machine and of the container; elsewhere by name.
    """
    with contextlib.suppress(OSError):
        return f"{BOOT.read_text().strip()} {os.readlink(NAMESPACE)}"
    return socket.gethostname()


def process_began(pid: int) -> int | None:
    """When a process of this machine began, in ticks since the machine did; None if not known."""
    found = _stat(pid)
    return None if found is None else int(found[19])


def is_alive(pid: object, began: object) -> bool:
    """Whether the process of this number that began then runs; a number may be given out again."""
    if not isinstance(pid, int) or pid <= 0:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # another user's
        pass
    found = _stat(pid)
    return found is None or (found[0] not in "ZX" and began in (None, int(found[19])))


def _stat(pid: int) -> list[str] | None:
    """The fields of Linux's /proc/PID/stat after the name, which may hold anything."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
