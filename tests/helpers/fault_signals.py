"""Faults of signals and terminals: notices that come twice, output that nobody reads any more."""

import contextlib
import functools
import os
import signal
import threading
import time

import fault_ends
import fault_kinds
import fault_runs

SECONDS_OF_SAVE = 0.6  # about, on a busy machine


def told_twice(bench, count):
    """SIGTERM at a random moment, and once more while the run saves."""
    _, seconds = bench.whole("slow", fault_runs.toy_slowly)

    def disturb(workdir):
        run = bench.start(fault_runs.toy_slowly, workdir)
        time.sleep(bench.moment(seconds))
        run.send(signal.SIGTERM)
        time.sleep(float(bench.random.uniform(0.0, SECONDS_OF_SAVE)))
        run.send(signal.SIGTERM)
        return run

    start = functools.partial(bench.start, fault_runs.toy_slowly)
    return fault_kinds.chains(bench, count, signal.SIGTERM, "slow", start, disturb)


class Piped(fault_runs.Process):
    """A start whose output is read for some seconds, and then by nobody."""

    def __init__(self, target, *arguments, log, seconds):
        os.mkfifo(log)
        self._seconds, self._read = seconds, b""
        reader = threading.Thread(target=self._pass_on, args=(log,), daemon=True)
        reader.start()
        super().__init__(target, *arguments, log=log)
        reader.join()
        os.unlink(log)

    def _pass_on(self, log):
        descriptor, began = os.open(log, os.O_RDONLY), time.monotonic()
        os.set_blocking(descriptor, False)
        while time.monotonic() - began < self._seconds:
            with contextlib.suppress(BlockingIOError):
                self._read += os.read(descriptor, 65536)
            time.sleep(0.01)
        os.close(descriptor)

    def said(self):
        """What was read of it."""
        return self._read.decode(errors="replace").splitlines()


def closed_pipe(bench, count):
    """The reader of all that `resgen train` says goes away: it trains on."""
    target = fault_kinds.TINY
    (whole, seconds), tally = bench.whole("tiny", target), fault_kinds.Tally()
    while tally.number < count:
        workdir = bench.folder()
        read_for = bench.moment(seconds)
        run = Piped(target, workdir, log=f"{workdir}.log", seconds=read_for)
        code = run.wait()
        if any(line.startswith("done:") for line in run.said()):
            continue  # it had said all by then
        met = fault_ends.Met(run, code, workdir, None)
        fault_ends.judge(bench, tally, met, whole, target, f"read for {read_for:.2f} s")
    return tally
