"""Laws of goodput: the parts add up to the wall time, over any number of starts."""

import contextlib
import time

import pytest
import toy_task

from resgen_jax.training import loop
from resgen_jax.training.telemetry import goodput, heartbeat, timeline, writer

SECONDS = [f"{part}_seconds" for part in (*goodput.PARTS, "lost")]


def total(line):
    return sum(line[name] for name in SECONDS)


def lines(workdir):
    return [line for line in writer.read(workdir) if line["split"] == goodput.SPLIT]


class Start:
    """One start of a run whose time is told by hand."""

    def __init__(self, workdir, restored_step):
        self.workdir, self.time = workdir, 0.0
        self.line = timeline.Timeline(now=lambda: self.time)
        self.spent = goodput.Goodput(self.line, goodput.earlier(workdir))
        self.spent.go_on_from(restored_step)
        self.out = writer.Writer(workdir, restored_step=restored_step)

    def spend(self, phase, seconds):
        with self.line.phase(phase):
            self.time += seconds

    def train(self, seconds):
        self.line.dispatched()
        self.time += seconds
        self.line.finished(self.time)

    def log(self, step):
        measured = self.spent.measured()
        self.out.write(step, goodput.SPLIT, measured)
        return measured

    def end(self, phase):
        """With a last heartbeat in this phase."""
        where = timeline.Where(phase, self.time, 0)
        heartbeat.write(self.workdir, 0, where, 0.0, self.spent.facts())


@pytest.fixture
def begin(tmp_path):
    """Begins a start of the run; all are closed at the end."""
    with contextlib.ExitStack() as opened:

        def begin(restored_step):
            start = Start(tmp_path, restored_step)
            opened.callback(start.out.close)
            return start

        yield begin


def test_parts_of_one_start(begin):
    start = begin(0)
    start.spend("compile", 10)
    start.spend("data", 2)
    start.train(60)
    start.spend("checkpoint", 4)
    start.spend("something new", 1)
    start.time += 3
    measured = start.log(1)
    assert measured["wall_seconds"] == total(measured) == 80
    assert measured["goodput"] == 0.75
    assert measured["other_seconds"] == 4
    assert (measured["lost_seconds"], measured["down_seconds"], measured["num_starts"]) == (0, 0, 1)
    assert goodput.summary(measured, (3, 2)) == (
        "goodput 75.0% of 1 min 20 s: step 1 min 00 s, compile 10.0 s, checkpoint 4.0 s, "
        "other 4.0 s, waiting for data 2.0 s; 2 of 3 programs from the compile cache"
    )


def test_what_a_killed_start_did_beyond_its_checkpoint_is_lost(begin):
    first = begin(0)
    first.spend("compile", 10)
    first.train(20)
    first.log(5)  # saved
    first.train(7)
    first.log(6)
    first.train(2)
    first.end("step")
    second = begin(5)
    second.spend("restore", 3)
    begun = second.log(5)
    assert begun["lost_seconds"] == pytest.approx(9)
    assert begun["num_starts"] == 2
    assert "2 starts, 0.0 s between them" in goodput.summary(begun)
    second.train(7)
    second.end("data")  # killed again, with nothing saved since
    third = begin(5)
    third.train(30)
    measured = third.log(9)
    assert measured["wall_seconds"] == pytest.approx(39 + 10 + 30)
    assert total(measured) == pytest.approx(measured["wall_seconds"])
    assert measured["step_seconds"] == pytest.approx(20 + 30)
    assert measured["restore_seconds"] == pytest.approx(3)
    assert measured["lost_seconds"] == pytest.approx(9 + 7)
    assert measured["num_starts"] == 3


@pytest.mark.parametrize(("phase", "down"), [("step", 100.0), (heartbeat.DONE, 0.0)])
def test_the_time_between_starts_is_told_apart_unless_nobody_waited(
    begin, monkeypatch, phase, down
):
    start = begin(0)
    start.train(5)
    start.log(1)
    start.end(phase)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 100)
    later = begin(1)
    later.train(5)
    measured = later.log(2)
    assert measured["down_seconds"] == pytest.approx(down, abs=5)
    assert measured["wall_seconds"] == total(measured) == 10


def test_time_between_starts_is_kept_over_starts_that_wrote_no_line(begin, monkeypatch):
    now = time.time()
    for number in range(4):
        monkeypatch.setattr(time, "time", lambda number=number: now + 100 * number)
        start = begin(0)
        start.end("data")
    assert start.log(1)["down_seconds"] == pytest.approx(300)


def test_a_start_killed_before_anything_was_saved_is_lost_as_a_whole(begin):
    first = begin(0)
    first.train(11)
    first.log(1)
    first.end("step")
    second = begin(0)
    second.train(1)
    measured = second.log(1)
    assert (measured["lost_seconds"], measured["step_seconds"]) == (11, 1)


def test_a_damaged_heartbeat_is_as_none(tmp_path):
    heartbeat.file_of(tmp_path, 0).parent.mkdir()
    heartbeat.file_of(tmp_path, 0).write_text("{")
    assert goodput.earlier(tmp_path) == goodput.Earlier([], 0.0, 0, 0.0, None)


def test_a_real_run_that_breaks_and_goes_on_accounts_for_all_its_time(tmp_path, single):
    messages, lasted = [], 0.0

    def train(fails_at):
        def report(event):
            messages.append(event.message)
            if fails_at and event.step == fails_at:
                raise OSError("the machine is gone")

        loop.run(
            toy_task.ToyTask(num_steps=20),
            loop.Spec(num_steps=20, log_every=3, evaluate_every=8, checkpoint_every=6),
            mesh=single,
            iterator=toy_task.iterator(),
            held_out=toy_task.held_out,
            workdir=tmp_path,
            seed=0,
            progress=report,
            began=began,
        )

    began = time.perf_counter() - 1
    with pytest.raises(OSError, match="the machine is gone"):
        train(fails_at=10)
    assert heartbeat.read(tmp_path, 0)["phase"] == "ended by OSError"
    lasted += time.perf_counter() - began
    began = time.perf_counter()
    train(fails_at=0)
    lasted += time.perf_counter() - began
    found = lines(tmp_path)
    for line in found:
        assert total(line) == pytest.approx(line["wall_seconds"], abs=1e-3)
    last = found[-1]
    assert (last["step"], last["num_starts"]) == (20, 2)
    assert last["startup_seconds"] >= 1
    assert last["lost_seconds"] > 0
    assert 0 < last["step_seconds"] < last["wall_seconds"] <= lasted
    for part in ("compile", "data", "checkpoint", "evaluation", "restore"):
        assert last[f"{part}_seconds"] > 0
    walls = [line["wall_seconds"] for line in found]
    assert walls == sorted(walls)
    assert messages[-1].startswith("goodput ")
    assert "; 2 starts, " in messages[-1]
