"""`resgen scale data`: what a config's data pipeline gives, against what its step takes."""

import os
import time
from collections.abc import Callable
from typing import Any

import jax

from resgen_jax.core import errors
from resgen_jax.runs import experiments, progress
from resgen_jax.runtime import mesh as meshes

SECONDS_AT_MOST = 20.0  # of one number of threads
NUM_BEFORE = 3  # what is done once, and what threads have read ahead
FIELD = "num_threads"


def thread_counts(own: int, num_cores: int) -> list[int]:
    """The config's own number of threads, none, and powers of two up to those of this machine."""
    powers = [2**power for power in range(num_cores.bit_length() + 1) if 2**power <= 2 * num_cores]
    return sorted({own, 0, *powers})


def measure(config: Any, num_steps: int, step_seconds: Callable[[], float]) -> dict[str, Any]:
    """Examples a second of this process, for some numbers of threads, and whether they suffice.

    Up to `num_steps` batches are drawn for each, after the first ones, as training draws, and put
    on the devices; only the pipeline runs meanwhile. `step_seconds` is asked for afterwards.
    """
    mesh, source = experiments.mesh_of(config), experiments.open_source(config)
    own = config.data.num_threads
    rows = len(meshes.rows_here(mesh, config.data.batch_size))
    table = []
    for num_threads in thread_counts(own, os.cpu_count() or 1):
        iterator = experiments.train_iterator(config, source, mesh, progress.say, num_threads)
        table.append({FIELD: num_threads, **_drawn(iterator, mesh, rows, num_steps)})
        close = getattr(iterator, "close", None)
        if close is not None:
            close()
    seconds = step_seconds()
    needed = rows / seconds
    for row in table:
        row["times_needed"] = row["examples_per_second"] / needed
    chosen = next(row for row in table if row[FIELD] == own)
    return {
        "source": repr(source),
        "batch_size": config.data.batch_size,
        "processes": jax.process_count(),
        "step_seconds": seconds,
        "needed_examples_per_second": needed,
        "threads": table,
        "keeps_up": chosen["times_needed"] >= 1,
        "verdict": verdict(chosen, max(table, key=lambda row: row["times_needed"])),
    }


def check_step_seconds(seconds: float | None) -> None:
    """Raises UserError for a step that takes no time."""
    if seconds is not None and not seconds > 0:
        raise errors.UserError(f"--step_seconds is {seconds}; expected more than 0")


def verdict(chosen: dict[str, Any], best: dict[str, Any]) -> str:
    """Whether the `chosen` number of threads suffices, and if not, whether the `best` does."""
    threads = chosen[FIELD]
    factor = f"{chosen['times_needed']:.3g} times what the step takes"
    if chosen["times_needed"] >= 1:
        return f"the pipeline keeps up: with data.num_threads={threads} it gives {factor}"
    said = f"the pipeline does not keep up: with data.num_threads={threads} it gives {factor}"
    if best["times_needed"] >= 1:
        return f"{said}; data.num_threads={best[FIELD]} gives {best['times_needed']:.3g} times"
    return (
        f"{said}, at best {best['times_needed']:.3g} with data.num_threads={best[FIELD]}: smaller "
        "or ready-made images (array_record), or more processes, each with its share"
    )


def _drawn(iterator: Any, mesh: Any, rows: int, num_steps: int) -> dict[str, float]:
    for _ in range(NUM_BEFORE):
        meshes.put_batch(mesh, next(iterator))
    started, waited, drawn = time.perf_counter(), 0.0, 0
    while drawn < num_steps and time.perf_counter() - started < SECONDS_AT_MOST:
        before = time.perf_counter()
        batch = next(iterator)
        waited += time.perf_counter() - before
        jax.block_until_ready(meshes.put_batch(mesh, batch))
        drawn += 1
    seconds = time.perf_counter() - started
    return {
        "examples_per_second": rows * drawn / seconds,
        "batch_seconds": waited / drawn,
        "put_seconds": (seconds - waited) / drawn,
    }
