"""The most memory that this process has had in use: on its devices and on the host."""

import pathlib
import re
import resource
import sys
from typing import Any

import jax

STATUS = pathlib.Path("/proc/self/status")


def watermark() -> dict[str, float]:
    """`host_peak_bytes`, and `device_peak_bytes` and `device_limit_bytes` where devices tell.

    Of the local devices it is the one with the highest peak; a CPU tells nothing but the host's.
    """
    told = [stats for device in jax.local_devices() if (stats := device.memory_stats())]
    highest: dict[str, Any] = max(
        told, key=lambda stats: stats.get("peak_bytes_in_use", 0), default={}
    )
    names = {"peak_bytes_in_use": "device_peak_bytes", "bytes_limit": "device_limit_bytes"}
    of_device = {ours: float(highest[name]) for name, ours in names.items() if name in highest}
    return {"host_peak_bytes": float(_host_peak()), **of_device}


def _host_peak() -> int:
    # What getrusage says may be the peak of the process that started this one.
    if STATUS.exists() and (found := re.search(r"VmHWM:\s*(\d+) kB", STATUS.read_text())):
        return 1024 * int(found.group(1))
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
