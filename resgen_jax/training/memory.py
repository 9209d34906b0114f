"""The most memory that this process has had in use: on its devices and on the host."""

import resource
import sys

import jax

# Linux counts the peak in kilobytes, macOS in bytes.
PEAK_UNIT = 1 if sys.platform == "darwin" else 1024


def watermark() -> dict[str, float]:
    """`host_peak_bytes`, and `device_peak_bytes` and `device_limit_bytes` where devices tell.

    Of the local devices it is the one with the highest peak; a CPU tells nothing but the host's.
    """
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * PEAK_UNIT
    told = [stats for device in jax.local_devices() if (stats := device.memory_stats())]
    highest = max(told, key=lambda stats: stats.get("peak_bytes_in_use", 0), default={})
    names = {"peak_bytes_in_use": "device_peak_bytes", "bytes_limit": "device_limit_bytes"}
    of_device = {ours: float(highest[name]) for name, ours in names.items() if name in highest}
    return {"host_peak_bytes": float(peak), **of_device}
