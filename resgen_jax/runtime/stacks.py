"""What every thread of this process is doing, in words: for a user whose run hangs."""

import sys
import threading
import traceback
from types import FrameType

# Where a process waits for the others, and which argument names the place.
BARRIERS = {
    "meet": "purpose",  # of training.processes, as the next
    "gather": "purpose",
    "sync_global_devices": "name",
    "sync_global_processes": "name",  # orbax's
    "wait_at_barrier": "barrier_id",
    "process_allgather": None,
    "broadcast_one_to_all": None,
    "reached_preemption_sync_point": "step_id",
    "assert_equal": "fail_message",
}


def of_all_threads() -> str:
    """The Python stacks of all threads but the caller's, the main one first."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    frames = sys._current_frames()
    frames.pop(threading.get_ident(), None)
    texts = []
    for number in sorted(frames, key=lambda number: (number != main, number)):
        stack = "".join(traceback.format_stack(frames[number]))
        texts.append(f"thread {names.get(number, number)} (innermost call last):\n{stack}")
    return "\n".join(texts)


def barrier() -> str | None:
    """The call that waits for other processes, with its name: the main thread's, or another's."""
    frames = sys._current_frames()
    main = threading.main_thread().ident
    for number in sorted(frames, key=lambda number: number != main):
        frame: FrameType | None = frames[number]
        found: FrameType | None = None
        while frame is not None:  # the outermost has the name that the caller gave
            if _is_barrier(frame):
                found = frame
            frame = frame.f_back
        if found is not None:
            name = found.f_code.co_name
            return f"{name}({_argument(found, BARRIERS[name])})"
    return None


def _is_barrier(frame: FrameType) -> bool:
    name = frame.f_code.co_name
    return name in BARRIERS and BARRIERS[name] in (None, *frame.f_locals)


def _argument(frame: FrameType, name: str | None) -> str:
    return repr(frame.f_locals[name]) if name in frame.f_locals else ""
