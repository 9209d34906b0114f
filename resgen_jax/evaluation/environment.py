"""Where a run happened: versions and hardware, as a table."""

import os
import pathlib
import platform
from importlib import metadata

import jax

import resgen_jax

LIBRARIES = ("jax", "jaxlib", "flax", "optax", "numpy")


def describe() -> dict[str, str]:
    """Names and values, each fit to be shown."""
    devices = jax.devices()
    kind = devices[0].device_kind
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in LIBRARIES)
    return {
        "Devices": f"{len(devices)} x {kind} ({devices[0].platform})",
        "Processor": f"{_processor()}, {_num_cores()} cores usable",
        "Processes": str(jax.process_count()),
        "System": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "Libraries": f"resgen_jax {resgen_jax.__version__}, {versions}",
    }


def _num_cores() -> int:
    if hasattr(os, "sched_getaffinity"):  # what this process may use, not what the machine has
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _processor() -> str:
    path = pathlib.Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, "") or platform.processor() or platform.machine() or "unknown"
