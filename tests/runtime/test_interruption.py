"""Signals and notices of preemption at any moment: the run stops, saved, and goes on as it was."""

import json
import os
import pathlib
import signal
import subprocess
import sys
import threading

import numpy as np
import pytest
import toy_task
from toy_runs import assert_equal, at_step, interrupt, lines, steps_saved, train

from resgen_jax.runtime import interruption
from resgen_jax.training import loop

RUN_TOY = pathlib.Path(toy_task.__file__).with_name("run_toy.py")


@pytest.fixture(autouse=True)
def no_nohup():
    """Under `nohup` the tests begin with a hangup ignored, which a run leaves alone."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_saves_and_the_rest_equals_not_stopping(tmp_path, single, uninterrupted, number):
    before = signal.getsignal(number)
    with pytest.raises(loop.Stopped) as stopped:
        train(tmp_path, single, progress=at_step(10, lambda: signal.raise_signal(number)))
    assert signal.getsignal(number) == before
    assert stopped.value.step in steps_saved(tmp_path)
    assert 10 <= stopped.value.step <= 12
    state = train(tmp_path, single)
    assert_equal(state, uninterrupted[1])
    assert lines(tmp_path) == lines(uninterrupted[0])


def test_a_stop_and_going_on_are_told(tmp_path, single):
    said = []

    def progress(event):
        if event.message:
            said.append(event.message)
        elif event.step == 10:
            signal.raise_signal(signal.SIGTERM)
            signal.raise_signal(signal.SIGTERM)

    with pytest.raises(loop.Stopped) as stopped:
        train(tmp_path, single, progress=progress)
    assert said.count("stopping after this step, saving") == 1
    assert not any("going on" in line for line in said)
    said.clear()
    train(tmp_path, single, progress=said.append)
    assert said[0].message == f"going on from step {stopped.value.step} of 20"


def test_a_signal_is_told_while_the_main_thread_is_in_c_and_hears_no_python(tmp_path):
    """As while it compiles: a thread says it, whatever the main thread does."""
    heard = threading.Event()
    with interruption.Interruption(heard.set) as stop:
        assert not heard.is_set()
        signal.pthread_kill(threading.main_thread().ident, signal.SIGTERM)
        assert heard.wait(60)
        assert stop.is_requested()


def test_who_listens_to_signals_already_still_hears_them():
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    before = signal.set_wakeup_fd(writing)
    try:
        with interruption.Interruption():
            signal.raise_signal(signal.SIGTERM)
        assert os.read(reading, 1) == bytes([signal.SIGTERM])
    finally:
        assert signal.set_wakeup_fd(before) == writing
        os.close(reading)
        os.close(writing)


@pytest.fixture
def ctrl_c():
    """Ctrl-C as a terminal has it: a shell's background jobs begin with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ctrl_c")
def test_a_second_ctrl_c_ends_the_run_at_once(tmp_path, single):
    seen = []

    def progress(event):
        seen.append(event.step)
        if event.step >= 7:
            interrupt()

    with pytest.raises(KeyboardInterrupt):
        train(tmp_path, single, progress=progress, checkpoint_every=2)
    assert max(seen) <= 8


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_more_notices_wait_until_the_run_is_saved(tmp_path, single, number):
    def progress(event):
        if event.step >= 7:
            signal.raise_signal(number)
            signal.raise_signal(number)

    with pytest.raises(loop.Stopped) as stopped:
        train(tmp_path, single, progress=progress)
    assert stopped.value.step in steps_saved(tmp_path)


def test_run_that_ignores_closed_terminals_goes_on(tmp_path, single, uninterrupted):
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        closed = at_step(10, lambda: signal.raise_signal(signal.SIGHUP))
        assert_equal(train(tmp_path, single, progress=closed), uninterrupted[1])
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


def run_toy(workdir, kill_at=0):
    """The toy run in its own process, killed without warning at a step; 0 = not killed."""
    done = subprocess.run(
        [sys.executable, str(RUN_TOY), str(workdir), str(kill_at)],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == (-signal.SIGKILL if kill_at else 0), done.stderr
    return done.stdout + done.stderr


def test_kill_9_at_any_step_changes_no_number(tmp_path):
    kill_at = int(np.random.default_rng().integers(2, 39))
    run_toy(tmp_path / "killed", kill_at)
    assert json.loads(lines(tmp_path / "killed")[-1])["step"] == kill_at
    said = run_toy(tmp_path / "killed")
    run_toy(tmp_path / "whole")
    assert lines(tmp_path / "killed") == lines(tmp_path / "whole"), f"killed at {kill_at}"
    assert not said


def test_a_notice_while_measuring_is_obeyed_at_once_and_the_rest_is_owed(
    tmp_path, single, uninterrupted
):
    """The signal comes between held-out batches; the step is saved, and measured later."""
    taken = []

    def held_out(num_batches):
        for batch in toy_task.held_out(num_batches):
            taken.append(batch)
            if len(taken) == 1:
                signal.raise_signal(signal.SIGTERM)
                pytest.fail("the evaluation went on")
            yield batch

    with pytest.raises(loop.Stopped, match="stopped after step 8, and saved"):
        train(tmp_path, single, held_out=held_out)
    assert len(taken) == 1
    assert steps_saved(tmp_path)[-1] == 8
    assert not lines(tmp_path, "held_out")
    assert_equal(train(tmp_path, single), uninterrupted[1])
    assert lines(tmp_path) == lines(uninterrupted[0])


def test_a_notice_in_the_last_measurement_leaves_it_to_the_next_start(
    tmp_path, single, uninterrupted
):
    def evaluator(state, step):
        signal.raise_signal(signal.SIGTERM)
        return {}

    with pytest.raises(loop.Stopped) as stopped:
        train(tmp_path, single, evaluators=[evaluator], evaluate_every=0)
    assert stopped.value.step == 20
    train(tmp_path, single, evaluate_every=0)
    assert lines(tmp_path, "held_out") == lines(uninterrupted[0], "held_out")[-1:]


def test_a_notice_before_the_first_step_saves_nothing(tmp_path, single):
    class Data:
        def get_state(self):
            return None

        def __next__(self):
            pytest.fail("a step was begun")

    task = toy_task.ToyTask(num_steps=20)
    init, noticed = task.init, []

    def with_notice(key):
        if not noticed:
            noticed.append(signal.raise_signal(signal.SIGTERM))
        return init(key)

    task.init = with_notice
    with pytest.raises(loop.Stopped, match="stopped before step 1: nothing to save"):
        train(tmp_path, single, task, iterator=Data())
    assert steps_saved(tmp_path) == []
