"""Who has come, said to every process; each is a thread here."""

import concurrent.futures
import json
import socket
import threading
import time

import processes
import pytest

from resgen_jax.core import errors
from resgen_jax.runtime import roll_call


def call(port, count, numbers, *, timeout=20.0, counts=None):
    """What each of these processes was told: None if all were there, else why not."""

    def one(place):
        try:
            roll_call.answer(place, timeout)
        except errors.UserError as refused:
            return str(refused)
        return None

    counts = counts or [count] * len(numbers)
    places = [
        roll_call.Place(f"127.0.0.1:{port}", *pair) for pair in zip(counts, numbers, strict=True)
    ]
    with concurrent.futures.ThreadPoolExecutor(len(places)) as pool:
        return list(pool.map(one, places))


def test_all_go_on_once_all_are_there_and_leave_the_port_free():
    port = processes.free_port()
    # The others first, as on a pod whose first host is slow.
    assert call(port, 4, [3, 1, 2, 0]) == [None] * 4
    assert call(port, 2, [0, 1]) == [None] * 2


def call_and_end(port, line):
    """Says a line to process 0, once that is there, and goes."""
    deadline = time.monotonic() + 20
    while True:
        try:
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall(line)
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize(
    ("numbers", "named"), [([0, 2], "processes 1, 3 of 4"), ([0, 3, 1], "process 2 of 4")]
)
def test_those_that_came_hear_who_did_not(numbers, named):
    said = call(processes.free_port(), 4, numbers, timeout=1.0)
    assert len(set(said)) == 1
    assert said[0].startswith(named)
    assert "--join_timeout" in said[0]
    assert "--distributed=off" in said[0]


def test_the_others_say_that_the_first_is_missing():
    port = processes.free_port()
    said = call(port, 3, [1, 2], timeout=0.5)
    for text in said:
        assert text.startswith(f"process 0 of 3 did not come to 127.0.0.1:{port}")
        assert "refused" in text


def test_a_long_wait_is_told(monkeypatch):
    monkeypatch.setattr(roll_call, "SECONDS_BEFORE_A_NOTE", 0.1)
    said = []
    port = processes.free_port()
    with pytest.raises(errors.UserError, match="process 1 of 2 did not come"):
        roll_call.answer(roll_call.Place(f"127.0.0.1:{port}", 2, 0), 0.5, said.append)
    assert said == [f"waiting for process 1 of 2 at 127.0.0.1:{port}; --distributed=off runs alone"]


def test_two_with_one_number_and_other_counts_are_refused():
    said = call(processes.free_port(), 4, [0, 1, 1])
    assert len(set(said)) == 1
    assert "say that they are number 1" in said[0]
    said = call(processes.free_port(), 2, [0, 1], counts=[2, 3])
    assert said[0] == said[1]
    assert "was told of 3 processes, process 0 of 2" in said[0]


def test_one_that_came_and_ended_is_missing():
    port, said = processes.free_port(), []

    def first():
        said.extend(call(port, 3, [0, 2], timeout=3.0))

    thread = threading.Thread(target=first)
    thread.start()
    call_and_end(port, b'{"number": 1, "count": 3, "host": "x"}\n')
    thread.join(30)
    assert len(said) == 2
    for text in said:
        assert text.startswith("process 1 of 3 did not come")


def test_a_port_that_is_taken_is_refused():
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        place = roll_call.Place(f"127.0.0.1:{port}", 2, 0)
        with pytest.raises(errors.UserError, match=f"cannot listen at port {port}"):
            roll_call.answer(place, 5.0)


def test_strangers_and_processes_that_ended_are_not_counted():
    port = processes.free_port()
    place = roll_call.Place(f"127.0.0.1:{port}", 2, 0)
    said = []

    def first():
        roll_call.answer(place, 30.0)
        said.append("everybody")

    thread = threading.Thread(target=first)
    thread.start()

    for line in (b"GET / HTTP/1.1\r\n\r\n", b"[]\n", b'{"number": 0}\n'):
        call_and_end(port, line)
    assert not said
    # One that died came again; its first call does not make it two.
    with socket.create_connection(("127.0.0.1", port)) as dead:
        dead.sendall(json.dumps({"number": 1, "count": 2, "host": "x"}).encode()[:-1])
    roll_call.answer(roll_call.Place(f"127.0.0.1:{port}", 2, 1), 30.0)
    thread.join(30)
    assert said == ["everybody"]
