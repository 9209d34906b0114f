"""Metrics out: the same numbers into every sink, and back from metrics.jsonl."""

import contextlib
import json
import math
import os
import pathlib
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

from resgen_jax.core import errors
from resgen_jax.io import files, json_files, paths
from resgen_jax.training.checkpoints import orbax_errors
from resgen_jax.training.telemetry import sinks
from resgen_jax.training.telemetry.sinks import FILE

DAMAGED = "metrics_damaged.txt"
SECONDS_BETWEEN_UPLOADS = 60.0


class Writer:
    """Writes `{"step": .., "split": .., name: value, ..}` a line to metrics.jsonl of a run.

    TensorBoard events hold the same numbers, and a run of wandb if `wandb_project` names one.
    Lines after `restored_step` are dropped first, and unless it `is_measured` what was measured
    then: the run computes them again. A value that is not
    finite is written as null. Switched off where `is_on` is False (all processes but the first).
    To a file in a bucket nothing can be added: there the files are written on this machine and
    copied whole, once a minute, by `flush` and at the end.
    """

    def __init__(
        self,
        workdir: str | os.PathLike,
        *,
        restored_step: int = 0,
        is_on: bool = True,
        is_measured: bool = True,
        wandb_project: str = "",
        warn: Callable[[str], None] = lambda text: None,
    ):
        """`warn` is told of lines that were damaged and set aside."""
        self._warn = warn
        self._sinks: list[sinks.Sink] = []
        self._workdir = paths.of(workdir)
        self._copied: tempfile.TemporaryDirectory | None = None
        self._uploaded = time.monotonic()
        if is_on:
            try:
                self._open(restored_step, is_measured, wandb_project)
            except BaseException:
                self.close()
                raise

    def _open(self, restored_step: int, is_measured: bool, wandb_project: str) -> None:
        folder = self._workdir
        if paths.is_remote(folder):
            self._copied = tempfile.TemporaryDirectory(prefix="resgen-")
            folder = pathlib.Path(self._copied.name)
            if (self._workdir / FILE).exists():
                paths.fetch(self._workdir / FILE, folder / FILE)
        with orbax_errors.explained(self._workdir):
            folder.mkdir(parents=True, exist_ok=True)
            num_damaged = _keep_until(folder / FILE, restored_step, is_measured)
            if num_damaged:
                self._warn(
                    f"damaged lines of {self._workdir / FILE}, {num_damaged} of them, were moved "
                    f"to {DAMAGED} beside it; all others stay"
                )
            self._sinks.append(sinks.JsonLines(folder))
            self._sinks.append(sinks.TensorBoard(folder, restored_step + 1))
            if wandb_project:
                self._sinks.append(sinks.Wandb(wandb_project, self._workdir))

    def __enter__(self) -> "Writer":
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        # What went wrong first is what the user has to read.
        with contextlib.suppress(*[Exception] * (error is not None)):
            self.close()

    def write(self, step: int, split: str, metrics: Mapping[str, Any]) -> None:
        """One line of numbers, in the file when this returns; `split` says what was measured."""
        if not self._sinks:
            return
        values = {name: float(value) for name, value in metrics.items()}
        finite = {name: x if math.isfinite(x) else None for name, x in values.items()}
        with orbax_errors.explained(self._workdir):
            for sink in self._sinks:
                sink.write(step, split, finite)
        if time.monotonic() - self._uploaded > SECONDS_BETWEEN_UPLOADS:
            self.flush()

    def show(self, step: int, split: str, pictures: sinks.Pictures) -> None:
        """Pictures beside a line, for the sinks that show any."""
        with orbax_errors.explained(self._workdir):
            for sink in self._sinks:
                sink.show(step, split, pictures)

    def flush(self) -> None:
        """Brings what was written into the bucket, if the run is in one."""
        if self._copied is not None:
            for sink in self._sinks:
                sink.flush()
            self._upload(self._copied)

    def close(self) -> None:
        """Flush and close all."""
        open_sinks, self._sinks = self._sinks, []
        with orbax_errors.explained(self._workdir):
            for sink in open_sinks:
                sink.close()
        if self._copied is not None:
            self._upload(self._copied)
            self._copied.cleanup()
            self._copied = None

    def _upload(self, copied: tempfile.TemporaryDirectory) -> None:
        self._uploaded = time.monotonic()
        for file in sorted(pathlib.Path(copied.name).iterdir()):
            paths.upload(file, self._workdir / file.name)


def read(workdir: str | os.PathLike) -> list[dict[str, Any]]:
    """All lines of a run's metrics, but for damaged ones and the torn last line of a killed run.

    Raises UserError for a file that cannot be read.
    """
    return _sorted_out(paths.of(workdir) / FILE)[0]


def _sorted_out(path: paths.Path) -> tuple[list[dict[str, Any]], list[bytes]]:
    """The lines that `Writer` wrote, and those that nobody wrote so; a torn last one is neither."""
    if not path.exists():
        return [], []
    *texts, torn = _content(path).split(b"\n")
    found = [(_line(text), text) for text in texts if text.strip()]
    last = _line(torn)  # whole but for its end
    good = [line for line in (*(line for line, _ in found), last) if line is not None]
    return good, [text for line, text in found if line is None]


def _content(path: paths.Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as failure:
        raise errors.UserError(
            f"cannot read {path} ({failure.strerror}); put it right, or move it away: the run then "
            f"goes on without its earlier metrics"
        ) from failure


def _line(text: bytes) -> dict[str, Any] | None:
    """What a line holds, None for one that no `Writer` wrote."""
    try:
        fields = json_files.parse(text)
        step, split = fields["step"], fields["split"]
    except (ValueError, LookupError, TypeError):
        return None
    numbers = [value for name, value in fields.items() if name != "split" and value is not None]
    is_good = isinstance(step, int) and isinstance(split, str)
    return fields if is_good and all(isinstance(n, int | float) for n in numbers) else None


def _keep_until(path: pathlib.Path, last_step: int, is_measured: bool) -> int:
    """Drop the lines after `last_step`, and a torn one, in one move.

    Damaged ones are set aside; gives their number.
    """
    if not path.exists():
        return 0
    good, damaged = _sorted_out(path)
    if damaged:
        with (path.parent / DAMAGED).open("ab") as file:
            file.write(b"".join(text + b"\n" for text in damaged))
    lines = [line for line in good if line["step"] <= last_step]
    of_steps = ("train", "speed", "goodput")
    kept = [
        line
        for line in lines
        if is_measured or line["step"] < last_step or line["split"] in of_steps
    ]
    files.write(path, "".join(json.dumps(line) + "\n" for line in kept).encode())
    return len(damaged)
