"""One writer at a time: the living hold their lock, the dead do not, on disks and in buckets."""

import json
import os
import subprocess
import sys
import threading
import time

import buckets
import pytest

from resgen_jax.core import errors
from resgen_jax.io import locks, machine, paths


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path, monkeypatch):
    """Where a lock goes."""
    if request.param == "disk":
        return tmp_path / "run" / "lock"
    buckets.fake(monkeypatch)
    return paths.of(f"s3://{buckets.BUCKET}/run/lock")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Hearts that beat, and are given up, within a second."""
    monkeypatch.setattr(locks, "SECONDS_BETWEEN", 0.02)
    monkeypatch.setattr(locks, "SECONDS_BETWEEN_IN_BUCKET", 0.02)
    monkeypatch.setattr(locks, "SECONDS_BETWEEN_LOOKS", 0.02)
    monkeypatch.setattr(locks, "SECONDS_TO_LIVE", 0.5)


def held(folder, told=None):
    return locks.held(folder, "runs/a", "name another", (told if told is not None else []).append)


def leave(folder, **fields):
    """What a holder that ended without a word leaves."""
    fields = {"host": "node-7", "pid": 12, "machine": "another", "token": "t"} | fields
    paths.write(folder / "3.json", json.dumps(fields).encode())


def test_a_second_start_is_refused_while_the_first_lives(folder):
    with held(folder):
        with pytest.raises(errors.UserError) as refused, held(folder):
            pass
        assert f"runs/a is in use: process {os.getpid()} on " in str(refused.value)
        assert str(refused.value).endswith("or name another")
    with held(folder):
        pass
    assert paths.names_in(folder) == []


def test_a_lock_is_given_back_after_an_error(folder):
    with pytest.raises(KeyError), held(folder):
        raise KeyError
    with held(folder):
        pass


def test_a_dead_process_of_this_machine_is_passed_over_at_once(folder):
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    told = []
    leave(folder, pid=ended.pid, machine=machine.identity())
    with held(folder, told):
        assert paths.names_in(folder) == ["4.json"]
    assert told == []


def test_a_number_given_out_again_is_not_the_process_that_had_it(folder):
    began = machine.process_began(os.getpid())
    if began is None:
        pytest.skip("only Linux says when a process began")
    leave(folder, pid=os.getpid(), machine=machine.identity(), process_began=began - 1)
    with held(folder):
        pass


def test_a_silent_holder_of_another_machine_is_waited_for_and_then_passed_over(folder):
    leave(folder)
    told, began = [], time.monotonic()
    with held(folder, told):
        assert time.monotonic() - began >= locks.SECONDS_TO_LIVE
    assert len(told) == 1
    assert "process 12 on node-7" in told[0]


def test_a_holder_of_another_machine_whose_heart_beats_is_refused(folder, monkeypatch):
    monkeypatch.setattr(locks, "SECONDS_TO_LIVE", 30.0)
    leave(folder)
    ended = threading.Event()

    def beat():
        number = 0
        while not ended.wait(0.02):
            number += 1
            leave(folder, beat=number)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        message = "process 12 on node-7 is writing there"
        with pytest.raises(errors.UserError, match=message), held(folder):
            pass
    finally:
        ended.set()
        thread.join()


@pytest.mark.parametrize("content", [b"", b"[1]", b"\xff{", b"{"])
def test_a_damaged_lock_is_of_an_unknown_holder(folder, content):
    paths.write(folder / "1.json", content)
    told = []
    with held(folder, told):
        pass
    assert "process ? on an unknown host" in told[0]


def test_of_many_that_come_at_once_one_is_let_in(folder):
    inside, most, refused = [0], [0], []
    together, done = threading.Barrier(8), threading.Barrier(8)

    def come():
        together.wait()
        try:
            with held(folder):
                inside[0] += 1
                most[0] = max(most[0], inside[0])
                done.wait()
        except errors.UserError:
            refused.append(1)
            done.wait()

    threads = [threading.Thread(target=come) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (most, len(refused)) == ([1], 7)


def test_disks_without_hard_links_have_locks_too(tmp_path, monkeypatch):
    def no_links(*names):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    path = tmp_path / "new" / "file"
    assert paths.create(path, b"first")
    assert not paths.create(path, b"second")
    assert path.read_bytes() == b"first"
    assert os.listdir(path.parent) == ["file"]


def test_who_was_taken_for_gone_ends_before_it_writes_again(tmp_path):
    folder = tmp_path / "lock"
    script = (
        "import pathlib, time\n"
        "from resgen_jax.io import locks\n"
        "locks.SECONDS_BETWEEN = 0.05\n"
        f"with locks.held(pathlib.Path({str(folder)!r}), 'runs/a', 'name another', print):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "held\n"
    leave(folder)  # its number is higher
    _, said = process.communicate(timeout=60)
    assert process.returncode == locks.LOST
    assert said.startswith("error: runs/a was taken over by process 12 on node-7")


def test_a_disk_that_is_full_is_told_in_one_line(tmp_path, monkeypatch):
    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(paths, "create", full)
    message = "cannot write the lock of runs/a .No space left"
    with pytest.raises(errors.UserError, match=message), held(tmp_path / "lock"):
        pass
