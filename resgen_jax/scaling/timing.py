"""Seconds of compiled programs: compiled apart, warmed up, run in turn, with their spread."""

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, cast

import jax
import numpy as np

NUM_WARMUP = 2  # runs before those that count: what is done once, and caches


class Program(NamedTuple):
    """A program ready to run on arguments that it holds."""

    name: str
    run: Callable[[], Any]  # begins a run; what it returns is waited for
    compile_seconds: float
    num_examples: int  # of one run
    peak_bytes: int  # of memory, by the compiler's count, on each device


def compiled(
    name: str, jitted: Any, arguments: Sequence[Any], num_examples: int, *, carries: bool = False
) -> Program:
    """A jitted function compiled for its arguments, ahead of its first call.

    One that `carries` gets the first of its outputs as its first argument in the next run: a
    training step, which uses up its state.
    """
    started = time.perf_counter()
    program = jitted.lower(*arguments).compile()
    seconds = time.perf_counter() - started
    held = list(arguments)

    def run() -> Any:
        outputs = program(*held)
        if carries:
            held[0] = outputs[0]
        return outputs

    memory = cast(Any, program.memory_analysis())
    return Program(name, run, seconds, num_examples, memory.peak_memory_in_bytes)


def in_turn(programs: Sequence[Program], num_repeats: int) -> list[list[float]]:
    """Seconds of each run of each program; in turn, so that a busy machine slows them alike."""
    for program in programs:
        for _ in range(NUM_WARMUP):
            jax.block_until_ready(program.run())
    seconds: list[list[float]] = [[] for _ in programs]
    for _ in range(num_repeats):
        for program, times in zip(programs, seconds, strict=True):
            started = time.perf_counter()
            jax.block_until_ready(program.run())
            times.append(time.perf_counter() - started)
    return seconds


def row(program: Program, seconds: Sequence[float]) -> dict[str, Any]:
    """What is told of a program: the median, and its spread over the repeats.

    `spread` is the middle half of the runs, from the first to the third quartile, over the median.
    """
    median = statistics.median(seconds)
    low, high = np.percentile(seconds, [25, 75])
    return {
        "program": program.name,
        "seconds": median,
        "spread": float(high - low) / median,
        "fastest": min(seconds),
        "slowest": max(seconds),
        "per_second": program.num_examples / median,
        "repeats": len(seconds),
        "compile_seconds": program.compile_seconds,
        "peak_bytes": program.peak_bytes,
    }
