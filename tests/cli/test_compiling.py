"""Compiling is told where it takes its time, once a wait, and XLA's log is quiet meanwhile."""

import threading

import jax
import pytest

from resgen_jax.cli import compiling


@pytest.fixture
def levels(monkeypatch):
    """The levels that XLA's log is set to."""
    found = []
    monkeypatch.setattr(compiling, "set_log_level", found.append)
    return found


def test_a_long_wait_is_told_once_and_a_short_one_not(levels):
    heard = threading.Event()
    wait = compiling.Wait(lambda said: heard.set(), seconds=0.0)
    wait.begin(compiling.EVENT, 0.0)
    assert heard.wait(60)
    wait.end(compiling.EVENT, 5.0)
    assert levels == [compiling.FATAL, compiling.ERRORS]

    said = []
    wait = compiling.Wait(said.append, seconds=3600.0)
    wait.begin(compiling.EVENT, 0.0)
    wait.end(compiling.EVENT, 0.1)
    wait._timer.join()
    assert not said


@pytest.mark.usefixtures("levels")
def test_programs_that_follow_each_other_are_one_wait():
    said = []
    wait = compiling.Wait(said.append, seconds=0.0)
    for _ in range(3):
        wait.begin(compiling.EVENT, 0.0)
        wait._timer.join()
        wait.end(compiling.EVENT, 5.0)
    assert said == [compiling.SAID]


def test_what_else_jax_tells_is_no_compiling(levels):
    wait = compiling.Wait(pytest.fail, seconds=0.0)
    wait.begin("/jax/core/compile/jaxpr_trace_duration", 0.0)
    wait.end("/jax/core/compile/jaxpr_trace_duration", 1.0)
    assert levels == []


def test_jax_tells_when_compiling_begins_and_ends(levels):
    """Also where it fails: the log must not stay quiet."""
    with compiling.told(lambda said: None):
        levels.clear()
        jax.jit(lambda x: x * 3 + 1).lower(1.0).compile()
        assert levels[:2] == [compiling.FATAL, compiling.ERRORS]
    levels.clear()
    jax.jit(lambda x: x * 5 + 1).lower(1.0).compile()
    assert levels == []


@pytest.mark.parametrize(("wanted", "level"), [(None, 2), ("1", 2), ("3", 3), ("0", None)])
def test_who_wants_more_or_less_of_the_log_gets_it(monkeypatch, wanted, level):
    from jaxlib import utils

    found = []
    monkeypatch.setattr(utils, "absl_set_min_log_level", found.append)
    monkeypatch.delenv(compiling.LEVEL, raising=False)
    if wanted is not None:
        monkeypatch.setenv(compiling.LEVEL, wanted)
    compiling.set_log_level(compiling.ERRORS)
    assert found == ([] if level is None else [level])
