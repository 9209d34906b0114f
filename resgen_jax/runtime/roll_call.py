"""Who has come, asked before jax waits for the processes: at its own deadline jax ends a process
with a stack of C++ and names nobody.

Process 0 listens where jax's coordination service will, each of the others says its number there,
and all hear the same answer: everybody is there, or why the run is refused.
"""

import contextlib
import json
import socket
import time
from collections.abc import Callable
from typing import Any, NamedTuple

from resgen_jax.core import errors

SECONDS_BETWEEN_TRIES = 0.2
SECONDS_FOR_A_LINE = 5.0
SECONDS_BEFORE_A_NOTE = 30.0
LONGEST = 2**20
Answer = dict[str, Any]
Say = Callable[[str], None]


class Place(NamedTuple):
    """Where the first process is, how many there are and which this is."""

    address: str  # HOST:PORT
    count: int  # type: ignore[assignment]  # tuples have a method of this name
    number: int


def answer(place: Place, timeout: float, say: Say = lambda line: None) -> None:
    """Returns once every process is there; all have to call it. `say` hears of a long wait.

    Raises UserError, in each of those that came, naming those that did not within `timeout`
    seconds, and where two say the same number or they disagree how many there are.
    """
    said = _hold(place, timeout, say) if place.number == 0 else _attend(place, timeout)
    if "refused" in said:
        raise errors.UserError(said["refused"])


def host_and_port(address: str) -> tuple[str, int]:
    """The parts of HOST:PORT or [HOST]:PORT."""
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


def _hold(place: Place, timeout: float, say: Say) -> Answer:
    """Process 0: hears the others, and gives all of them the same answer."""
    deadline = time.monotonic() + timeout
    note_at: float | None = time.monotonic() + SECONDS_BEFORE_A_NOTE
    _, port = host_and_port(place.address)
    here: dict[int, tuple[socket.socket, str]] = {}
    with contextlib.ExitStack() as stack:
        with _listener(port) as listener:
            outcome: Answer | None = {} if place.count == 1 else None
            while outcome is None:
                left = deadline - time.monotonic()
                if left <= 0:
                    _forget_ended(here)
                    outcome = {"refused": _absent(place, here, timeout)}
                    break
                if note_at and time.monotonic() > note_at:
                    there = f"{_missing(place, here)} at {place.address}"
                    say(f"waiting for {there}; --distributed=off runs alone")
                    note_at = None
                listener.settimeout(min(left, SECONDS_BEFORE_A_NOTE))
                with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
                    connection = stack.enter_context(listener.accept()[0])
                    outcome = _hear(place, here, connection)
        # jax's service listens there next; only then may the others look for it.
        for connection, _ in here.values():
            with contextlib.suppress(OSError):
                _send(connection, outcome)
        for connection, _ in here.values():
            _wait_until_closed(connection)
    return outcome


def _hear(place: Place, here: dict, connection: socket.socket) -> Answer | None:
    """Notes who called; an answer once it is known, None before."""
    connection.settimeout(SECONDS_FOR_A_LINE)
    said = json.loads(_receive(connection))
    number, count, host = int(said["number"]), int(said["count"]), str(said["host"])
    if number < 1:
        raise ValueError("process 0 is this one")
    if number in here and not _is_closed(here[number][0]):
        both = f"{here[number][1]} and {host}"
        why = f"two processes, on {both}, say that they are number {number}; give each its own"
        return _refusal(here, connection, why)
    if count != place.count:
        told = f"was told of {count} processes, process 0 of {place.count}"
        return _refusal(here, connection, f"process {number} on {host} {told}; tell all the same")
    here[number] = connection, host
    _forget_ended(here)
    return {} if len(here) == place.count - 1 else None


def _refusal(here: dict, connection: socket.socket, text: str) -> Answer:
    here[-1] = connection, ""  # who hears it too
    return {"refused": f"{text}, e.g. --distributed=HOST:PORT,COUNT,NUMBER"}


def _absent(place: Place, here: dict, timeout: float) -> str:
    return (
        f"{_missing(place, here)} did not come to {place.address} within {timeout:g} s; look at "
        "their own output, give more time with --join_timeout, or run alone with --distributed=off"
    )


def _missing(place: Place, here: dict) -> str:
    missing = [str(number) for number in range(1, place.count) if number not in here]
    which = f"process {missing[0]}" if len(missing) == 1 else f"processes {', '.join(missing)}"
    return f"{which} of {place.count}"


def _attend(place: Place, timeout: float) -> Answer:
    """The others: say that they are there, and wait for the answer."""
    deadline, reason = time.monotonic() + timeout, "no answer"
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(
                host_and_port(place.address), SECONDS_FOR_A_LINE
            ) as connection:
                here = {"number": place.number, "count": place.count, "host": socket.gethostname()}
                _send(connection, here)
                connection.settimeout(timeout + SECONDS_FOR_A_LINE)  # process 0 may have come later
                return json.loads(_receive(connection))
        except (OSError, ValueError) as failure:
            reason = " ".join(str(failure).split()) or type(failure).__name__
            time.sleep(SECONDS_BETWEEN_TRIES)
    return {
        "refused": f"process 0 of {place.count} did not come to {place.address} within {timeout:g} "
        f"s ({reason}); look at its own output and at the address, give more time with "
        "--join_timeout, or run alone with --distributed=off"
    }


def _listener(port: int) -> socket.socket:
    try:
        if socket.has_dualstack_ipv6():
            return socket.create_server(
                ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=1024
            )
        return socket.create_server(("", port), backlog=1024)
    except OSError as failure:
        raise errors.UserError(
            f"process 0 cannot listen at port {port} ({failure.strerror}); name another one, "
            "--distributed=HOST:PORT,COUNT,NUMBER or JAX_COORDINATOR_PORT"
        ) from failure


def _send(connection: socket.socket, content: Answer) -> None:
    connection.sendall(json.dumps(content).encode() + b"\n")


def _receive(connection: socket.socket) -> bytes:
    """One line; ValueError if the other side ends before it does, or it is none of ours."""
    line = b""
    while not line.endswith(b"\n"):
        part = connection.recv(4096)
        if not part or len(line) > LONGEST:
            raise ValueError("the connection was closed")
        line += part
    return line


def _forget_ended(here: dict) -> None:
    """Who came and ended since is not there."""
    for number in [number for number, (connection, _) in here.items() if _is_closed(connection)]:
        del here[number]


def _is_closed(connection: socket.socket) -> bool:
    """Whether the process at the other side has ended."""
    connection.settimeout(0)
    try:
        return connection.recv(1, socket.MSG_PEEK) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        connection.settimeout(SECONDS_FOR_A_LINE)


def _wait_until_closed(connection: socket.socket) -> None:
    # The side that closes first keeps the port for a while.
    connection.settimeout(SECONDS_FOR_A_LINE)
    with contextlib.suppress(OSError):
        connection.recv(1)
