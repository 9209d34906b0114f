"""Tests of what orbax leaves on the terminal."""

import sys
import types

import pytest

from resgen_jax.training import storage


def unraisable(error):
    """What the interpreter hands on when nothing can catch `error`."""
    return types.SimpleNamespace(exc_type=type(error), exc_value=error, object=None)


@pytest.fixture
def told(monkeypatch):
    """The errors that the hook before ours was told."""
    found = []
    monkeypatch.setattr(sys, "unraisablehook", lambda given: found.append(given.exc_value))
    return found


def test_only_late_writes_are_kept_off_the_terminal(told):
    storage.silence_orbax()
    late, other = RuntimeError("Event loop is closed"), RuntimeError("out of order")
    sys.unraisablehook(unraisable(late))
    sys.unraisablehook(unraisable(other))
    assert told == [other]


def test_silencing_twice_adds_one_hook(told):
    storage.silence_orbax()
    hook = sys.unraisablehook
    storage.silence_orbax()
    assert sys.unraisablehook is hook
