"""Meetings of processes: each is a thread here, and jax's key-value store a dictionary."""

import concurrent.futures
import threading
import time

import jax
import pytest

from resgen_jax.core import errors
from resgen_jax.runtime import processes


class Store:
    """The part of jax's client that is used; shared by all, as the service is."""

    def __init__(self):
        self._values, self._changed = {}, threading.Condition()

    def key_value_set(self, key, value, allow_overwrite=False):
        with self._changed:
            if key in self._values and not allow_overwrite:
                raise jax.errors.JaxRuntimeError(f"ALREADY_EXISTS: {key}")
            self._values[key] = value
            self._changed.notify_all()

    def key_value_dir_get(self, key):
        with self._changed:
            return [(name, text) for name, text in self._values.items() if name.startswith(key)]

    def blocking_key_value_get(self, key, timeout_in_ms):
        with self._changed:
            if not self._changed.wait_for(lambda: key in self._values, timeout_in_ms / 1000):
                raise jax.errors.JaxRuntimeError("DEADLINE_EXCEEDED: too long")
            return self._values[key]


def run(count, work, monkeypatch):
    """What `work(group)` returns or raises in each of `count` processes."""
    monkeypatch.setattr(processes, "MARGIN", 0.5)
    store = Store()

    def one(index):
        try:
            return work(processes.Group(store, index, count))
        except Exception as failure:
            return failure

    with concurrent.futures.ThreadPoolExecutor(count) as pool:
        return list(pool.map(one, range(count)))


def test_all_hear_what_each_says_again_and_again(monkeypatch):
    def work(group):
        said = []
        for number in range(3):
            time.sleep(0.01 * ((group.index + number) % 3))
            said += group.gather("numbers", f"{group.index}.{number}")
        return said, group.name(2).startswith("process 2 (")

    expected = [f"{index}.{number}" for number in range(3) for index in range(4)]
    assert run(4, work, monkeypatch) == [(expected, True)] * 4


@pytest.mark.parametrize("absent", [0, 2])
def test_those_that_wait_hear_who_does_not_come(absent, monkeypatch):
    def work(group):
        if group.index != absent:
            group.gather("the start", timeout=0.3)

    found = run(4, work, monkeypatch)
    assert found[absent] is None
    for failure in found[:absent] + found[absent + 1 :]:
        assert isinstance(failure, processes.ProcessError)
        assert str(failure).startswith(f"process {absent} of 4 did not come to 'the start' within")


@pytest.mark.parametrize("refused", [0, 1])
@pytest.mark.parametrize("kind", [errors.UserError, RuntimeError])
def test_one_that_fails_takes_the_others_along(refused, kind, monkeypatch):
    def work(group):
        group.gather("before")
        if group.index == refused:
            group.tell_failure(kind("no room\non the disk"))
        else:
            group.gather("the start", timeout=30.0)

    start = time.monotonic()
    found = run(3, work, monkeypatch)
    assert time.monotonic() - start < 20
    expected = errors.UserError if kind is errors.UserError else processes.ProcessError
    for failure in found[:refused] + found[refused + 1 :]:
        assert type(failure) is expected
        assert str(failure).startswith(f"process {refused} (")
        # A line end of a message stays on its line, or becomes a blank.
        said = str(failure).partition("): ")[2]
        assert said in ("no room on the disk", r"no room\non the disk")


def test_processes_at_different_places_are_told_apart(monkeypatch):
    found = run(2, lambda group: group.gather(f"place {group.index}", timeout=5.0), monkeypatch)
    for failure in found:
        assert isinstance(failure, processes.ProcessError)
        assert "'place 0'" in str(failure)
        assert "'place 1'" in str(failure)


def test_alone_nobody_is_waited_for():
    assert processes.group() is None
    assert processes.gather("anything", "here") == ["here"]
    processes.meet("anything", timeout=0.0)
    processes.leave(2, errors.UserError("x"))
