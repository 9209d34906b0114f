"""The record of an evaluation: its figures, and all that is needed to make them again."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from resgen_jax.evaluation import environment, protocol
from resgen_jax.runs import evaluation_request


def of(
    measure: Callable[[evaluation_request.Request], dict[str, Any]],
    request: evaluation_request.Request,
    command: str = "",
) -> dict[str, Any]:
    """What `measure` finds, with its protocol, version, hardware and seconds.

    `measure` is a function of `evaluate_runs` or `evaluate_files`; `command` the line that asked.
    """
    started = time.perf_counter()
    found = measure(request)
    return {
        **found,
        "protocol": protocol.words(found.get("metrics", {})),
        "version": protocol.version(),
        "hardware": environment.describe(),
        "seconds": round(time.perf_counter() - started, 1),
        "command": command,
    }


def plain(value: Any) -> Any:
    """The value as JSON has it: no NumPy scalars, no tuples, null for what is not finite."""
    if isinstance(value, dict):
        return {name: plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    return None if isinstance(value, float) and not np.isfinite(value) else value
