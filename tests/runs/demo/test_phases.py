"""Phases: what is done stays done, unless something before it or its settings changed."""

import time

import jax
import jax.numpy as jnp
import pytest

from resgen_jax.runs.demo import phases


def do(path, *names, settings="same", fail_in=None):
    """Runs phases that are not done; the names of those that ran."""
    record, ran = phases.Phases(path), []
    for name in names:
        if not record.is_done(name, {"settings": settings}):
            with record.run(name, {"settings": settings}, goes_on=True):
                ran.append(name)
                time.sleep(0.02)
                if name == fail_in:
                    raise KeyboardInterrupt
    return ran


def seconds(path):
    return {phase.name: phase.seconds for phase in phases.Phases(path).all()}


def test_done_phases_are_not_run_again_but_what_follows_a_new_one_is(tmp_path):
    path = tmp_path / "phases.json"
    with pytest.raises(KeyboardInterrupt):
        do(path, "one", "two", "three", fail_in="two")
    before = seconds(path)
    assert do(path, "one", "two", "three") == ["two", "three"]
    assert seconds(path)["two"] >= before["two"] + 0.02  # both tries count
    assert seconds(path)["one"] == before["one"]
    assert do(path, "one", "two", "three") == []
    assert do(path, "one", "two", "three", settings="other") == ["one", "two", "three"]
    assert seconds(path)["two"] < 2 * before["two"] + 0.02


def test_compiling_is_part_of_the_seconds_and_counted_apart(tmp_path):
    record = phases.Phases(tmp_path / "phases.json")
    with record.run("compiling", {}):
        jax.jit(lambda x: jnp.sin(x) @ x + 3.25)(jnp.ones((5, 5)))
    with record.run("sleeping", {}):
        time.sleep(0.05)
    compiling, sleeping = record.all()
    assert 0 < compiling.compile_seconds <= compiling.seconds
    assert sleeping.compile_seconds == 0
    assert 0 <= sleeping.cpu_seconds < compiling.cpu_seconds
    assert sleeping.seconds >= 0.05
