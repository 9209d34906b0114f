"""TensorBoard events, written by the caller itself.

tensorboardX's SummaryWriter has a thread write them: on a full disk it dies with a traceback, and
the training then waits for ever to hand it the next one.
"""

import os
import pathlib
import time

import numpy as np
import tensorboardX.summary
from jaxtyping import UInt8
from tensorboardX.event_file_writer import EventsWriter
from tensorboardX.proto import event_pb2

SECONDS_BETWEEN_FLUSHES = 10.0


class Events:
    """An events file in `folder`; what earlier ones say of steps from `purge_step` on is hidden.

    Every method raises OSError where the disk refuses.
    """

    def __init__(self, folder: pathlib.Path, purge_step: int):
        # Two starts within a second would have the same name.
        self._writer = EventsWriter(os.fspath(folder / "events"), f".{os.getpid()}")
        self._flushed = time.monotonic()
        version, start = "brain.Event:2", event_pb2.SessionLog.START
        self._write(event_pb2.Event(step=purge_step, file_version=version))
        session = event_pb2.SessionLog(status=start)
        self._write(event_pb2.Event(step=purge_step, session_log=session))
        self.flush()

    def add_scalar(self, name: str, value: float, step: int) -> None:
        """One number; in the file after some seconds, or `flush`."""
        summary = tensorboardX.summary.scalar(name, value)
        self._write(event_pb2.Event(step=step, summary=summary))
        if time.monotonic() - self._flushed > SECONDS_BETWEEN_FLUSHES:
            self.flush()

    def add_image(self, name: str, pixels: UInt8[np.ndarray, "h w c"], step: int) -> None:
        """One picture, in gray or colour; in the file as `add_scalar` has it."""
        summary = tensorboardX.summary.image(name, pixels, dataformats="HWC")
        self._write(event_pb2.Event(step=step, summary=summary))

    def flush(self) -> None:
        """All is on the disk when this returns."""
        self._flushed = time.monotonic()
        self._writer.flush()

    def close(self) -> None:
        """Flush and close."""
        self._writer.close()

    def _write(self, event: event_pb2.Event) -> None:
        event.wall_time = time.time()
        self._writer.write_event(event)
