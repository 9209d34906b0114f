"""The phases of a long command: how long each took, and which need not be done again."""

import contextlib
import functools
import json
import pathlib
import time
from collections.abc import Iterator, Mapping
from typing import Any

import jax

from resgen_jax.evaluation import report
from resgen_jax.io import json_files
from resgen_jax.runs import run_directory

SECONDS = ("seconds", "compile_seconds", "cpu_seconds")
COMPILING = "/jax/core/compile/"


class Phases:
    """Seconds of each phase by name, kept in a file, so that they add up over interruptions."""

    def __init__(self, path: pathlib.Path):
        self._path = path
        self._record: dict[str, dict[str, Any]] = {}
        self._is_stale = False  # an earlier phase was done anew, so all after it have to be
        with contextlib.suppress(FileNotFoundError, ValueError):
            self._record = _whole(json_files.parse(path.read_bytes()))

    def is_done(self, name: str, settings: Mapping[str, Any]) -> bool:
        """Whether the phase ended before with these settings, and everything before it too."""
        entry = self._record.get(name, {})
        is_same = entry.get("settings") == json.loads(json.dumps(settings))
        return is_same and entry.get("is_done", False) and not self._is_stale

    @contextlib.contextmanager
    def run(self, name: str, settings: Mapping[str, Any], goes_on: bool = False) -> Iterator[None]:
        """Measures what happens inside; seconds of an earlier try count if the phase `goes_on`."""
        self._is_stale = True
        settings = json.loads(json.dumps(settings))
        before = self._record.get(name, {})
        if not (goes_on and before.get("settings") == settings):
            before = {}
        compiling, started = compile_seconds(), time.perf_counter()
        cpu_started = time.process_time()
        is_done = False
        try:
            yield
            is_done = True
        finally:
            seconds = time.perf_counter() - started
            self._record[name] = {
                "seconds": before.get("seconds", 0.0) + seconds,
                "compile_seconds": before.get("compile_seconds", 0.0)
                + min(compile_seconds() - compiling, seconds),
                "cpu_seconds": before.get("cpu_seconds", 0.0) + time.process_time() - cpu_started,
                "settings": settings,
                "is_done": is_done,
            }
            run_directory.write_json(self._path, self._record)

    def all(self) -> list[report.Phase]:
        """The phases so far, as the report shows them."""
        return [
            report.Phase(name, *(entry[part] for part in SECONDS))
            for name, entry in self._record.items()
        ]


def _whole(record: Any) -> dict[str, dict[str, Any]]:
    """The phases in a record as `Phases` writes it; what is not so is done again."""
    entries = record.items() if isinstance(record, dict) else ()
    return {
        name: entry
        for name, entry in entries
        if isinstance(entry, dict)
        and all(isinstance(entry.get(part), int | float) for part in SECONDS)
    }


def compile_seconds() -> float:
    """Seconds that this process has spent tracing and compiling since this was first asked."""
    return sum(_heard(), 0.0)


@functools.cache
def _heard() -> list[float]:
    durations: list[float] = []

    def listen(event: str, duration_secs: float, **_: Any) -> None:
        if event.startswith(COMPILING):
            durations.append(duration_secs)

    jax.monitoring.register_event_duration_secs_listener(listen)
    return durations
