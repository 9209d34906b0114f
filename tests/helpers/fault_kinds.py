"""The kinds of faults: each does some to real runs and says how these ended."""

import dataclasses
import functools
import itertools
import json
import pathlib
import shutil
import signal
import time

import fault_damage
import fault_ends
import fault_runs
import numpy as np

CONFIG = fault_runs.HELPERS / "fault_config.py"


@dataclasses.dataclass
class Tally:
    """How the faults of one kind ended."""

    resumed: int = 0
    refused: int = 0
    wrong: list[str] = dataclasses.field(default_factory=list)
    most_lost: int = 0  # steps that had been told of, and were made again
    longest_stop: float = 0.0  # seconds from SIGTERM to the end, saved

    @property
    def number(self):
        """All faults of the kind."""
        return self.resumed + self.refused + len(self.wrong)


class Bench:
    """A folder to run in, and what undisturbed runs wrote."""

    def __init__(self, place, seed):
        self.place, self.seed = pathlib.Path(place), seed
        self.random = np.random.default_rng(seed)
        self._numbers = itertools.count()
        self._whole = {}

    def folder(self):
        """A new place for a run."""
        return self.place / f"run-{next(self._numbers)}"

    def start(self, target, workdir):
        """One start of a run."""
        return fault_runs.Process(target, workdir, log=f"{workdir}.log")

    def whole(self, name, target):
        """Folder and seconds of the undisturbed run `name`; it runs twice, compiled the second."""
        if name not in self._whole:
            for _ in range(2):
                began, workdir = time.monotonic(), self.folder()
                run = self.start(target, workdir)
                assert run.wait() == 0, run.said()
            self._whole[name] = workdir, time.monotonic() - began
        return self._whole[name]

    def moment(self, seconds):
        """A random time within a run of so many seconds."""
        return float(self.random.uniform(0.02, seconds))


def killed(bench, count, number, name, target):
    """The signal `number` at random moments, again and again until the run ends by itself."""
    _, seconds = bench.whole(name, target)

    def disturb(workdir):
        run = bench.start(target, workdir)
        time.sleep(bench.moment(seconds))
        run.send(number)
        return run

    return chains(bench, count, number, name, functools.partial(bench.start, target), disturb)


def killed_at_files(bench, count):
    """SIGKILL in between two operations on files of the run."""
    workdir, place = bench.folder(), bench.folder()
    run = fault_runs.Process(fault_runs.count_operations, workdir, place, log=f"{workdir}.log")
    assert run.wait() == 0, run.said()
    num_operations = json.loads(place.read_text())

    def disturb(workdir):
        last = int(bench.random.integers(1, num_operations + 1))
        return bench.start(functools.partial(fault_runs.toy, killed_at=last), workdir)

    bench.whole("toy", fault_runs.toy)
    start = functools.partial(bench.start, fault_runs.toy)
    return chains(bench, count, signal.SIGKILL, "toy", start, disturb)


def chains(bench, count, number, name, start, disturb):
    tally, (whole, _) = Tally(), bench._whole[name]
    while tally.number < count:
        workdir, num_faults, newest, wrong = bench.folder(), 0, 0, ""
        while not wrong:
            is_enough = tally.number + num_faults >= count
            run = start(workdir) if is_enough else disturb(workdir)
            since = time.monotonic()
            code = run.wait()
            told, saved = fault_runs.last_step(workdir), fault_runs.newest_saved(workdir)
            if (code and saved < newest) or told < newest:
                wrong = f"went on from before {newest}"
            if code == 0:
                break
            num_faults += 1
            newest = saved
            tally.most_lost = max(tally.most_lost, told - newest)
            if number in (signal.SIGTERM, signal.SIGHUP) and code == 3:
                tally.longest_stop = max(tally.longest_stop, time.monotonic() - since)
                if told != newest:
                    wrong = f"stopped, told of step {told} and saved {newest}"
            elif code != -number:
                wrong = f"exit code {code}: {run.said()[-3:]}"
        if not wrong and fault_runs.lines(workdir) != fault_runs.lines(whole):
            wrong = f"other losses in {workdir}"
        if wrong:
            tally.wrong.append(wrong)
        tally.resumed += num_faults - bool(wrong)
    return tally


def damaged(bench, counts):
    """Flipped bits, truncated and deleted files of the newest checkpoint; a tally for each way."""
    whole, _ = bench.whole("toy", fault_runs.toy)
    place, reported = bench.folder(), bench.folder()
    place.mkdir()
    faults = [(how, number) for how in counts for number in range(counts[how])]
    run = fault_runs.Process(
        fault_damage.go_on,
        whole,
        fault_damage.template(place),
        place,
        faults,
        bench.seed,
        reported,
        log=f"{place}.log",
    )
    code = run.wait(20.0 * len(faults) + 60.0)
    tallies = {how: Tally() for how in counts}
    results = json.loads(reported.read_text())
    for how, wrong, lost, words in results:
        tally = tallies[how]
        tally.most_lost = max(tally.most_lost, lost)
        if wrong:
            tally.wrong.append(f"{words}: {wrong}")
        else:
            tally.resumed += 1
    if code or len(results) < len(faults):
        next(iter(tallies.values())).wrong.append(f"exit code {code}: {run.said()[-3:]}")
    return tallies


def refused(bench, count, name, target, disturbed, mended=lambda workdir: None):
    """A run that is refused, and goes on when the cause is removed.

    `disturbed(workdir)` does the fault and gives the target of the run that meets it, or None where
    there was nothing to do it to; `mended(workdir)` takes it away.
    """
    tally, (whole, _) = Tally(), bench.whole(name, target)
    tries = 0
    while tally.number < count and tries < 4 * count + 4:
        tries += 1
        workdir = bench.folder()
        meeting = disturbed(workdir)
        before = max([0, *fault_runs.saved_steps(workdir)])
        run = bench.start(meeting, workdir)
        code, said = run.wait(), run.said()
        told, saved = fault_runs.last_step(workdir), max([0, *fault_runs.saved_steps(workdir)])
        mended(workdir)
        if code == 0 and fault_runs.lines(workdir) == fault_runs.lines(whole):
            continue  # the fault was not met
        again = bench.start(target, workdir)
        again_code = again.wait()
        wrong = ""
        if code != 2 or not said or fault_ends.has_trace(said):
            wrong = f"exit code {code}: {said[-3:]}"
        elif saved < before:
            wrong = f"{before} was saved, and {saved} afterwards"
        elif again_code or fault_runs.lines(workdir) != fault_runs.lines(whole):
            wrong = f"did not go on: exit code {again_code}: {again.said()[-3:]}"
        if wrong:
            tally.wrong.append(wrong)
        else:
            tally.refused += 1
        tally.most_lost = max(tally.most_lost, told - saved)
    return tally


def poisoned(bench, count):
    """The loss becomes NaN at a random step."""

    def disturbed(workdir):
        step = int(bench.random.integers(1, fault_runs.SPEC.num_steps + 1))
        return functools.partial(fault_runs.toy, poison_from=step)

    return refused(bench, count, "toy", fault_runs.toy, disturbed)


def all_damaged(bench, count):
    """The record of every checkpoint is cut; a copy of one is brought back afterwards."""
    place = bench.folder()
    place.mkdir()
    stopped = fault_damage.template(place)

    def disturbed(workdir):
        shutil.copytree(stopped, workdir)
        for step in fault_runs.saved_steps(workdir):
            path = workdir / "checkpoints" / str(step) / "record" / "data.json"
            fault_damage.harm(path, "truncate", bench.random)
        return fault_runs.toy

    def mended(workdir):
        shutil.rmtree(workdir)
        shutil.copytree(stopped, workdir)

    return refused(bench, count, "toy", fault_runs.toy, disturbed, mended)


def training(*more):
    """`resgen train` of the tiny tokenizer, as a target."""
    return functools.partial(_train, more)


def _train(more, workdir):
    return fault_runs.command("train", *more, f"--workdir={workdir}")


TINY = training(f"--config={CONFIG}")
