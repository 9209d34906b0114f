"""What orbax leaves on the terminal, and what the disk says to whoever saves."""

import errno
import os
import sys
import types

import pytest

from resgen_jax.core import errors
from resgen_jax.io import disks
from resgen_jax.training.checkpoints import orbax_errors


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
    orbax_errors.silence_orbax()
    late, other = RuntimeError("Event loop is closed"), RuntimeError("out of order")
    sys.unraisablehook(unraisable(late))
    sys.unraisablehook(unraisable(other))
    assert told == [other]


def test_silencing_twice_adds_one_hook(told):
    orbax_errors.silence_orbax()
    hook = sys.unraisablehook
    orbax_errors.silence_orbax()
    assert sys.unraisablehook is hook


@pytest.mark.parametrize("number", disks.REFUSALS)
def test_whatever_a_disk_refuses_is_told_in_one_line(tmp_path, number):
    failure = RuntimeError("what a library makes of it")
    failure.__cause__ = OSError(number, os.strerror(number))
    complaint = f"could not save in .*{os.strerror(number)}"
    with pytest.raises(errors.UserError, match=complaint) as told, orbax_errors.explained(tmp_path):
        raise failure
    assert "\n" not in str(told.value)


def test_a_library_that_gives_the_complaint_as_text_is_understood_and_others_pass(tmp_path):
    text = f"Error writing: {os.strerror(errno.EIO)} [source locations]"
    with (
        pytest.raises(errors.UserError, match="Input/output error"),
        orbax_errors.explained(tmp_path),
    ):
        raise ValueError(text)
    with pytest.raises(ValueError, match="shapes differ"), orbax_errors.explained(tmp_path):
        raise ValueError("shapes differ")
