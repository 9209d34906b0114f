"""How runs that met a fault have ended, and whether that was right."""

import pathlib
import time
from typing import Any, NamedTuple

import fault_runs

TRACES = ("Traceback", "Exception ignored", "Event loop is closed", "Exception in thread")


class Met(NamedTuple):
    """A run that met a fault and has ended."""

    run: Any
    code: int
    workdir: pathlib.Path
    found: Any


def has_trace(said):
    """Whether there is more among the lines than a user should read."""
    return any(word in line for line in said for word in TRACES)


def judge(bench, tally, met, whole, target, words, mend=lambda: None):
    """Adds to `tally` whether the run went on unharmed, or was refused and goes on once mended."""
    said, expected = met.run.said(), fault_runs.lines(whole)
    told, saved = fault_runs.last_step(met.workdir), fault_runs.newest_saved(met.workdir)
    tally.most_lost = max(tally.most_lost, 0 if met.code == 0 else told - saved)
    wrong = ""
    if met.code not in (0, 2) or has_trace(said):
        wrong = f"exit code {met.code}: {said[-3:]}"
    elif met.code == 0:
        wrong = "" if fault_runs.lines(met.workdir) == expected else "other losses"
    elif not said or not said[-1].startswith(("error: ", "resgen train: ")):
        wrong = f"the last word was no refusal: {said[-3:]}"
    else:
        mend()
        again = bench.start(target, met.workdir)
        code = again.wait()
        if code or fault_runs.lines(met.workdir) != expected or has_trace(again.said()):
            wrong = f"did not go on: exit code {code}: {again.said()[-3:]} after {said[-1]}"
    if wrong:
        tally.wrong.append(f"{words}: {wrong} in {met.workdir}")
    elif met.code:
        tally.refused += 1
    else:
        tally.resumed += 1


def stopped(bench, target):
    """A run stopped by SIGTERM in its middle, after it has saved."""
    for _ in range(20):
        workdir = bench.folder()
        run = bench.start(target, workdir)
        while run.is_alive() and not fault_runs.saved_steps(workdir):
            time.sleep(0.01)
        run.send(15)
        if run.wait() == 3:
            return workdir
    raise AssertionError(f"never stopped in its middle: {run.said()}")


def size(folder):
    """Bytes of all files below."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
