"""The processes of one run: what each has to say, and who is missing.

Over the key-value store of jax's coordination service, which needs no device: a process that was
refused says so here, and the others, who wait for it, are refused with it.
"""

import itertools
import json
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
from jax._src import distributed  # there is no public way to the client

from resgen_jax.core import errors

TIMEOUT = 600.0  # seconds
MARGIN = 10.0  # seconds for the word of process 0 to arrive
FOLDER = "resgen/meeting"


class ProcessError(RuntimeError):
    """Another process is missing or has failed; the message says which."""


class Group:
    """The processes of a run, each of which calls the same methods in the same order.

    `client` is jax's, `index` this process's number; process 0 hears all, and says what came of it.
    """

    def __init__(self, client: Any, index: int, count: int):
        self._client, self.index, self.count = client, index, count
        self._hosts = {index: socket.gethostname()}
        self._meetings = itertools.count()

    def name(self, number: int) -> str:
        """`process 3 (its host)`."""
        host = self._hosts.get(number)
        return f"process {number} ({host})" if host else f"process {number}"

    def gather(self, purpose: str, content: str = "", timeout: float = TIMEOUT) -> list[str]:
        """What every process has to say, by number.

        Raises UserError where one was refused, ProcessError, naming them, where some are missing
        after `timeout` seconds, have failed, or are elsewhere in the program.
        """
        folder = f"{FOLDER}/{next(self._meetings)}"
        here = {"purpose": purpose, "host": self._hosts[self.index], "content": content}
        self._client.key_value_set(f"{folder}/arrived/{self.index}", json.dumps(here))
        if self.index == 0:
            outcome = self._wait_for_all(folder, purpose, timeout)
            self._client.key_value_set(f"{folder}/outcome", json.dumps(outcome))
        else:
            outcome = self._wait_for_outcome(folder, purpose, timeout)
        self._hosts |= {int(number): host for number, host in outcome.get("hosts", {}).items()}
        if "refused" in outcome:
            raise errors.UserError(outcome["refused"])
        if "failed" in outcome:
            raise ProcessError(outcome["failed"])
        return outcome["contents"]

    def tell_failure(self, failure: BaseException) -> None:
        """Tells the others, at their next meeting, that this process does not come."""
        text = " ".join(str(failure).split()) or type(failure).__name__
        kind = "refused" if isinstance(failure, errors.UserError) else "failed"
        folder = f"{FOLDER}/{next(self._meetings)}"
        if self.index == 0:
            where, said = "outcome", {kind: f"{self.name(0)}: {text}"}
        else:
            where, said = f"arrived/{self.index}", {kind: text, "host": self._hosts[self.index]}
        self._client.key_value_set(f"{folder}/{where}", json.dumps(said), allow_overwrite=True)

    def _wait_for_all(self, folder: str, purpose: str, timeout: float) -> dict[str, Any]:
        deadline, pause = time.monotonic() + timeout, 0.02
        while True:
            outcome = self._judge(self._arrived(folder), purpose)
            if outcome is not None:
                return outcome
            if time.monotonic() > deadline:
                return {"failed": self._missing(self._arrived(folder), purpose, timeout)}
            time.sleep(pause)
            pause = min(2 * pause, 0.5)

    def _wait_for_outcome(self, folder: str, purpose: str, timeout: float) -> dict[str, Any]:
        milliseconds = round(1000 * (timeout + MARGIN))
        try:
            return json.loads(
                self._client.blocking_key_value_get(f"{folder}/outcome", milliseconds)
            )
        except jax.errors.JaxRuntimeError as failure:
            if "DEADLINE_EXCEEDED" not in str(failure):
                raise
            missing = self._missing(self._arrived(folder), purpose, timeout)
            return {"failed": missing}

    def _arrived(self, folder: str) -> dict[int, dict[str, Any]]:
        found = self._client.key_value_dir_get(f"{folder}/arrived/")
        return {int(key.rpartition("/")[2]): json.loads(text) for key, text in found}

    def _judge(self, arrived: Mapping[int, Any], purpose: str) -> dict[str, Any] | None:
        """What came of a meeting, or None while it goes on."""
        self._hosts |= {number: said["host"] for number, said in arrived.items()}
        for number, said in sorted(arrived.items()):
            for kind in ("refused", "failed"):
                if kind in said:
                    return {kind: f"{self.name(number)}: {said[kind]}"}
            if said["purpose"] != purpose:
                return {
                    "failed": f"the processes do different things: {self.name(0)} is at "
                    f"{purpose!r}, {self.name(number)} at {said['purpose']!r}"
                }
        if len(arrived) < self.count:
            return None
        contents = [arrived[number]["content"] for number in range(self.count)]
        return {"contents": contents, "hosts": self._hosts}

    def _missing(self, arrived: Mapping[int, Any], purpose: str, timeout: float) -> str:
        missing = [self.name(number) for number in range(self.count) if number not in arrived]
        return (
            f"{', '.join(missing) or self.name(0)} of {self.count} did not come to {purpose!r} "
            f"within {timeout:g} s: it hangs or has ended, and its own output says why"
        )


_group: Group | None = None


def group() -> Group | None:
    """The processes of this run; None if it is the only one."""
    global _group
    state = distributed.global_state
    if state.client is None or state.num_processes == 1:
        return None
    if _group is None:
        _group = Group(state.client, state.process_id, state.num_processes)
    return _group


def gather(purpose: str, content: str = "", timeout: float = TIMEOUT) -> list[str]:
    """`Group.gather` of this run's processes; alone, what was said."""
    there = group()
    return [content] if there is None else there.gather(purpose, content, timeout)


def meet(purpose: str, timeout: float = TIMEOUT) -> None:
    """Every process waits for the others. Raises ProcessError, naming those that do not come."""
    gather(purpose, timeout=timeout)


def names() -> Sequence[str]:
    """`process 3 (its host)` for each."""
    there = group()
    return ["process 0"] if there is None else [there.name(each) for each in range(there.count)]


def leave(code: int, failure: BaseException, patience: float = 20.0) -> None:
    """Leaves a run that failed here: the others hear of it, and are not waited for for long.

    Returns if all of them leave too. Otherwise ends this process with the exit code, after which
    the coordination service ends those that wait for it on their devices.
    """
    there = group()
    if there is None:
        return
    # A thread, for a service that is gone may never answer.
    thread = threading.Thread(target=_say_goodbye, args=(there, failure), daemon=True)
    thread.start()
    thread.join(patience)
    if thread.is_alive():
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _say_goodbye(there: Group, failure: BaseException) -> None:
    try:
        there.tell_failure(failure)
        jax.distributed.shutdown()
    except jax.errors.JaxRuntimeError:  # what it was for is reported already
        pass
