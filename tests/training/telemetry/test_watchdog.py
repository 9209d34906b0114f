"""A stall is told with the stacks; a process that moves is left alone."""

import json
import os
import signal
import subprocess
import sys
import threading
import time

import buckets
import pytest

from resgen_jax.io import paths
from resgen_jax.runtime import stacks
from resgen_jax.training.telemetry import heartbeat, timeline, watchdog

DEADLINE = 60.0


def until(condition):
    """Waits for what another thread does."""
    end = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.fixture
def line():
    return timeline.Timeline()


def dog(tmp_path, line, **options):
    said = []
    return watchdog.Watchdog(tmp_path, line, warn=said.append, **options), said


def test_a_stall_names_phase_step_and_the_guilty_call_and_its_end(tmp_path, line):
    file = tmp_path / "stalls" / "process_0.txt"
    watching, said = dog(tmp_path, line, stall_seconds=0.2)

    def guilty_reader():
        until(file.exists)

    with watching:
        line.come_to(7)
        with line.phase("data"):
            guilty_reader()
        until(lambda: len(said) > 1)
    text = file.read_text()
    assert "process 0 of 1: 'data' at step 7 has not moved for 0." in text
    assert "in guilty_reader" in text
    assert text.index("thread MainThread") < text.index("in guilty_reader")
    assert "it went on after" in text
    assert f"see {file}" in said[0]
    assert "'data' at step 7 went on" in said[1]


def test_a_longer_stall_is_told_again_and_a_later_one_below(tmp_path, line):
    file = tmp_path / "stalls" / "process_0.txt"
    watching, _ = dog(tmp_path, line, stall_seconds=0.1)

    def count(words):
        return file.read_text().count(words) if file.exists() else 0

    with watching:
        with line.phase("checkpoint"):
            until(lambda: count("'checkpoint' at step 0 has not moved") == 2)
        line.come_to(1)
        with line.phase("evaluation"):
            until(lambda: count("'evaluation' at step 1 has not moved"))


def test_a_wait_for_other_processes_is_named(tmp_path, line):
    file = tmp_path / "stalls" / "process_0.txt"

    def sync_global_devices(name):
        until(file.exists)

    watching, _ = dog(tmp_path, line, stall_seconds=0.1)
    with watching, line.phase("checkpoint"):
        sync_global_devices("all have saved")
    assert "it waits for the other processes in sync_global_devices('all have saved')" in (
        file.read_text()
    )
    assert stacks.barrier() is None


def test_what_moves_and_what_compiles_is_no_stall(tmp_path, line):
    watching, said = dog(tmp_path, line, stall_seconds=30.0)
    for phase, seconds, watched in (
        ("compile", 1e6, False),
        ("step", 29.0, False),
        ("evaluator", 299.0, False),
        ("step", 30.0, True),
    ):
        watching._look(timeline.Where(phase, 0.0, 1), seconds)
        assert bool(said) == watched
    assert "it waits for its devices" in (tmp_path / "stalls" / "process_0.txt").read_text()
    patient, said = dog(tmp_path, line, stall_seconds=30.0)
    patient._look(timeline.Where("evaluator", 0.0, 1), 300.0)
    assert said
    off, said = dog(tmp_path, line, stall_seconds=0.0)
    off._look(timeline.Where("step", 0.0, 1), 1e9)  # and no stacks come from C later
    assert not said


def test_heartbeats_say_where_the_process_stands_and_how_it_ended(tmp_path, line):
    watching, _ = dog(tmp_path, line, stall_seconds=0.0, facts=lambda: {"wall_seconds": 3.5})

    def beat_and_break():
        with watching, line.phase("data"):
            line.come_to(4)
            watching._beat(line.where)
            beaten.update(heartbeat.read(tmp_path, 0))
            raise KeyError

    beaten = {}
    with pytest.raises(KeyError):
        beat_and_break()
    assert (beaten["step"], beaten["phase"], beaten["wall_seconds"]) == (4, "data", 3.5)
    assert (beaten["process"], beaten["pid"]) == (0, os.getpid())
    assert abs(beaten["unix_time"] - time.time()) < DEADLINE
    assert heartbeat.read(tmp_path, 0)["phase"] == "ended by KeyError"
    assert len(heartbeat.file_of(tmp_path, 0).read_text().splitlines()) == 1
    again, _ = dog(tmp_path, line, stall_seconds=0.0)
    with again:
        assert heartbeat.read(tmp_path, 0)["phase"] == "other"
    assert heartbeat.read(tmp_path, 0)["phase"] == heartbeat.DONE
    assert not [thread for thread in threading.enumerate() if thread.name == "watchdog"]


def test_a_directory_that_refuses_ends_nothing(tmp_path, line):
    (tmp_path / "file").write_text("")
    watching, said = dog(tmp_path / "file", line, stall_seconds=0.1)
    with watching, line.phase("data"):
        until(lambda: said)
    assert "'data' at step 0 has not moved" in said[0]


PROCESS = """
import signal, sys, time
from resgen_jax.training.telemetry import timeline, watchdog
line = timeline.Timeline()
def guilty_reader():
    print("ready", flush=True)
    if "--lock" in sys.argv:
        import ctypes  # a call that keeps Python's lock: no other thread of Python runs
        ctypes.PyDLL(None).sleep(60)
    time.sleep(60)
stall, abort = map(float, sys.argv[2:4])
with watchdog.Watchdog(sys.argv[1], line, stall_seconds=stall, abort_seconds=abort):
    with line.phase("data"):
        guilty_reader()
"""


def process(tmp_path, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", PROCESS, str(tmp_path), *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_a_process_that_stalls_too_long_is_killed_where_that_is_asked_for(tmp_path):
    started = process(tmp_path, "0", "0.5")
    _, err = started.communicate(timeout=DEADLINE)
    assert started.returncode == -signal.SIGKILL, err
    assert "in guilty_reader" in (tmp_path / "stalls" / "process_0.txt").read_text()
    assert json.loads((tmp_path / "heartbeat" / "process_0.json").read_text())["phase"] == "data"


@pytest.mark.parametrize("arguments", [("0", "0"), ("1", "0", "--lock")], ids=["signal", "lock"])
def test_stacks_come_on_a_signal_and_without_pythons_lock(tmp_path, arguments):
    started = process(tmp_path, *arguments)
    try:
        assert started.stdout.readline() == "ready\n"
        if arguments[-1] == "0":
            started.send_signal(signal.SIGUSR1)
        seen = []
        while "in guilty_reader" not in "".join(seen[-1:]):
            seen.append(started.stderr.readline())
            assert seen[-1], seen
    finally:
        started.kill()
        started.communicate()


def test_in_a_bucket_both_files_are_put_whole(monkeypatch, line):
    files = buckets.fake(monkeypatch)
    place = f"s3://{buckets.BUCKET}/run"
    watching, said = dog(place, line, stall_seconds=0.1)
    with watching, line.phase("data"):
        until(lambda: said)
    assert heartbeat.read(paths.of(place), 0)["phase"] == heartbeat.DONE
    told = files.cat_file(f"{buckets.BUCKET}/run/stalls/process_0.txt").decode()
    assert "'data' at step 0 has not moved" in told
