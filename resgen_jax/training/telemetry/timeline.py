"""Where the wall time of a run goes: every instant has one name, so that all add up to it."""

import collections
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

STEP, OTHER = "step", "other"
REMEMBERED = 8  # more than there are ever under way
Now = Callable[[], float]


class Where(NamedTuple):
    """What the host is in, since when by the timeline's clock, and the step it has come to."""

    phase: str
    since: float
    step: int


class Timeline:
    """Tells apart what the host is in, and whether the devices work on a step meanwhile.

    While a step runs, time is "step", whatever the host does: a batch that is read behind a step
    costs nothing. Any other time is that of the innermost phase the host is in, or "other". Time
    from `began` until now is "startup". One thread tells it; `where` may be read by others.
    """

    def __init__(self, now: Now = time.perf_counter, began: float | None = None):
        self.now = now
        start = now()
        self.began = start if began is None else began
        self.seconds: dict[str, float] = {"startup": start - self.began}
        self.host_seconds: dict[str, float] = {}  # in each phase, hidden behind a step or not
        self.entered: collections.Counter[str] = collections.Counter()  # how often each phase was
        self.until = start  # what `seconds` reaches to
        self.where = Where(OTHER, start, 0)
        self._stack = [OTHER]
        self._marks = collections.deque([(start, OTHER)])  # phases entered after `until`
        self._dispatched: collections.deque[float] = collections.deque()

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """The host is in `name` meanwhile."""
        start = self.now()
        self.entered[name] += 1
        self._stack.append(name)
        self._enter(name, start)
        try:
            yield
        finally:
            end = self.now()
            self.host_seconds[name] = self.host_seconds.get(name, 0.0) + end - start
            self._stack.pop()
            self._enter(self._stack[-1], end)

    def come_to(self, step: int) -> None:
        """The host turns to this step."""
        self.where = self.where._replace(step=step)

    def beat(self) -> None:
        """Something was done within the phase: it does not hang."""
        self.where = self.where._replace(since=self.now())

    def dispatched(self) -> None:
        """The devices were given a step; they begin it when they are through with the others."""
        self._dispatched.append(self.now())

    def finished(self, at: float) -> None:
        """The oldest step under way ended then."""
        start = max(self._dispatched.popleft(), self.until)
        self._account(start)
        self._account(max(at, start), STEP)

    def settle(self) -> float:
        """Seconds since `began` that are accounted for: until now, or the last step that ended."""
        if not self._dispatched:
            self._account(self.now())
        return self.until - self.began

    def _enter(self, name: str, at: float) -> None:
        self._marks.append((at, name))
        self.where = Where(name, at, self.where.step)

    def _account(self, until: float, running: str | None = None) -> None:
        while self.until < until:
            ends = self._marks[1][0] if len(self._marks) > 1 else until
            stop = max(min(until, ends), self.until)
            name = running or self._marks[0][1]
            self.seconds[name] = self.seconds.get(name, 0.0) + stop - self.until
            self.until = stop
            if len(self._marks) > 1 and ends <= stop:
                self._marks.popleft()


class Endings:
    """When each step ended on the devices, heard by a thread: the host may be elsewhere then."""

    def __init__(self, now: Now):
        self._now = now
        self._watched: queue.SimpleQueue[tuple[int, Any] | None] = queue.SimpleQueue()
        self._ended = [(-1, 0.0)] * REMEMBERED  # of the newest steps
        self._thread = threading.Thread(target=self._wait, name="step-endings", daemon=True)

    def __enter__(self) -> "Endings":
        self._thread.start()
        return self

    def __exit__(self, kind: Any, error: Any, traceback: Any) -> None:
        self._watched.put(None)
        if error is None:  # after an error the devices may never answer
            self._thread.join()

    def watch(self, step: int, result: Any) -> None:
        """`result` is there when the step has ended."""
        self._watched.put((step, result))

    def of(self, step: int) -> float:
        """When a step ended whose result has just been read: now, if nothing was heard earlier."""
        found, ended = self._ended[step % REMEMBERED]
        return ended if found == step else self._now()

    def _wait(self) -> None:
        while (watched := self._watched.get()) is not None:
            step, result = watched
            with contextlib.suppress(Exception):  # the loop meets the same error, and raises it
                result.block_until_ready()
                self._ended[step % REMEMBERED] = (step, self._now())
