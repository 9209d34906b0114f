"""Files opened in a process of its own, one after the other: what came of each, and what it took.

A process has imported all and opened a whole file of each form before it is given a hostile one:
then a file costs what its reader costs. It is replaced when it dies, hangs or has grown.
"""

import contextlib
import dataclasses
import multiprocessing
import os
import pathlib
import resource
import signal
import sys
import time
import warnings

HELPERS = pathlib.Path(__file__).parent
ROOT = HELPERS.parents[1]
sys.path[:0] = [str(HELPERS), str(ROOT)]

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(ROOT / ".jax_cache"))

import file_readers  # noqa: E402
from absl import logging  # noqa: E402

from resgen_jax.core import errors  # noqa: E402

MOST_SECONDS, MOST_MEGABYTES = 2.0, 300.0
DEADLINE, KILLED_AT_CPU_SECONDS = 300.0, 20  # by the clock, for what sleeps; others may be slow
ADDRESS_SPACE = 2**32  # bytes beyond what a process has when it is given its first file
MOST_GROWTH = 60.0  # megabytes that a process may keep before it is replaced
LONGEST = 5000  # characters of one line


@dataclasses.dataclass(frozen=True)
class Outcome:
    """How the reading of one file ended; `wrong` says why it must not end so, "" for right."""

    was_read: bool
    text: str
    wrong: str = ""
    seconds: float = 0.0  # of CPU time, beyond what a whole file takes
    megabytes: float = 0.0  # at most, above what the process had


def read(reader, path):
    """Opens a file in this process; the bounds are for `Reader` to hold."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # as the command line does
            notes = getattr(file_readers, reader)(path) or []
    except errors.UserError as failure:
        text, was_read = str(failure), False
        return Outcome(was_read, text, _bad_line(text))
    except Exception as failure:
        text = f"{type(failure).__name__}: {' '.join(str(failure).split())[:300]}"
        return Outcome(False, text, f"no refusal: {text} at {_where(failure)}")
    bad = next((wrong for wrong in map(_bad_line, notes) if wrong), "")
    return Outcome(True, "; ".join(notes), bad)


def _bad_line(text):
    if "\n" in text or not text.isprintable():
        return f"not one plain line: {text[:200]!r}"
    return "" if len(text) <= LONGEST else f"a line of {len(text)} characters: {text[:200]}"


def _where(failure):
    frames, found = failure.__traceback__, ""
    while frames:
        code = frames.tb_frame.f_code
        if "resgen_jax" in code.co_filename or not found:
            found = f"{pathlib.Path(code.co_filename).name}:{frames.tb_lineno}"
        frames = frames.tb_next
    return found


class Reader:
    """Reads files in another process; `whole` are files without damage, by the reader's name."""

    def __init__(self, whole):
        self._whole, self._process = whole, None

    def __call__(self, reader, path):
        """The outcome of one file, held against the bounds."""
        if self._process is None:
            self._start()
        self._pipe.send((reader, os.fspath(path)))
        with contextlib.suppress(EOFError):
            self._pipe.recv()  # once it has opened the whole ones
        if not self._pipe.poll(DEADLINE):
            self.close()
            return Outcome(False, "", f"still at work after {DEADLINE:.0f} s")
        try:
            outcome, growth = self._pipe.recv()
        except EOFError:
            self._process.join()
            number = self._process.exitcode
            self.close()
            return Outcome(False, "", f"the process ended with {number}")
        if growth > MOST_GROWTH:
            self.close()
        return _bounded(outcome)

    def _start(self):
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(["file_trials"])
        self._pipe, there = context.Pipe()
        self._process = context.Process(target=_serve, args=(there, self._whole), daemon=True)
        self._process.start()
        there.close()

    def close(self):
        """Ends the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._pipe.close()
            self._process = None


def _bounded(outcome):
    wrong = outcome.wrong
    if outcome.seconds > MOST_SECONDS:
        wrong = wrong or f"{outcome.seconds:.1f} s of CPU time: {outcome.text[:200]}"
    if outcome.megabytes > MOST_MEGABYTES:
        wrong = wrong or f"{outcome.megabytes:.0f} MB: {outcome.text[:200]}"
    return dataclasses.replace(outcome, wrong=wrong)


def _serve(pipe, whole):
    logging.set_verbosity(logging.FATAL)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    usual, baseline = {}, 0.0  # CPU seconds that a whole file takes, by the reader's name
    while True:
        with contextlib.suppress(EOFError):
            name, path = pipe.recv()
            if name not in usual:
                usual[name] = max((_usual(name, file) for file in whole.get(name, ())), default=0.0)
                baseline = max(baseline, _memory("VmRSS"))
                limit = int(_memory("VmSize") * 2**20) + ADDRESS_SPACE
                resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
            pipe.send("ready")
            outcome = _measured(name, pathlib.Path(path), baseline)
            seconds = max(0.0, outcome.seconds - usual[name])
            outcome = dataclasses.replace(outcome, seconds=seconds)
            pipe.send((outcome, _memory("VmRSS") - baseline))
            continue
        return


def _usual(name, file):
    """CPU seconds that a whole file takes: of the second time, as the first one imports."""
    for _ in range(2):
        began = time.process_time()
        outcome = read(name, pathlib.Path(file))
        seconds = time.process_time() - began
        if not outcome.was_read or outcome.wrong:
            raise RuntimeError(f"{file}, which is whole: {outcome}")
    return seconds


def _measured(name, path, baseline):
    pathlib.Path("/proc/self/clear_refs").write_text("5")  # the peak begins anew
    began = time.process_time()
    most = int(began) + KILLED_AT_CPU_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (most, resource.RLIM_INFINITY))
    outcome = read(name, path)
    return dataclasses.replace(
        outcome,
        seconds=time.process_time() - began,
        megabytes=max(0.0, _memory("VmHWM") - baseline),
    )


def _memory(field):
    """Megabytes of this process, as the system counts them."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{field}:"))
