"""WORKDIR/heartbeat/process_N.json: where each process of a run stands, a line of JSON each."""

import datetime
import json
import os
import socket
import time
from collections.abc import Mapping
from typing import Any

from resgen_jax.io import json_files, paths
from resgen_jax.training.telemetry.timeline import Where

FOLDER, DONE = "heartbeat", "done"
SECONDS_BETWEEN, SECONDS_BETWEEN_IN_BUCKET = 5.0, 60.0


def file_of(workdir: paths.Path, process: int) -> paths.Path:
    """Where the heartbeat of a process lies."""
    return workdir / FOLDER / f"process_{process}.json"


def seconds_between(workdir: paths.Path) -> float:
    """How often one is written: to a bucket seldom, because each is a request."""
    return SECONDS_BETWEEN_IN_BUCKET if paths.is_remote(workdir) else SECONDS_BETWEEN


def write(
    workdir: paths.Path, process: int, where: Where, phase_seconds: float, facts: Mapping[str, Any]
) -> None:
    """The file, whole or not at all. Raises OSError, and in a bucket whatever its library does."""
    unix_time = time.time()
    date = datetime.datetime.fromtimestamp(unix_time, datetime.UTC)
    fields = {
        "process": process,
        "step": where.step,
        "phase": where.phase,
        "phase_seconds": round(phase_seconds, 3),
        "time": date.isoformat(timespec="seconds"),
        "host": socket.gethostname(),
        "pid": os.getpid(),
        **facts,
        "unix_time": unix_time,
    }
    paths.write(file_of(workdir, process), (json.dumps(fields) + "\n").encode())


def read(workdir: paths.Path, process: int) -> dict[str, Any]:
    """The last heartbeat of a process; empty if there was none, or if it cannot be read."""
    try:
        fields = json_files.parse(file_of(workdir, process).read_bytes())
    except (OSError, ValueError):
        return {}
    return fields if isinstance(fields, dict) else {}
