"""The compiled programs of a run: the first state and the step."""

import functools
import time
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from resgen_jax.core import keys
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import placement
from resgen_jax.training.state import Batch, Metrics, Task, TrainState

CACHE_EVENTS = ("compile_requests_use_cache", "cache_hits")


class Step(NamedTuple):
    """The compiled step, the seconds that took, and its forms on the way there."""

    program: jax.stages.Compiled
    compile_seconds: float
    traced: Any
    lowered: Any


def initial_state(task: Task, mesh: Mesh, seed: int) -> TrainState:
    """The state before the first step, born sharded."""
    key = keys.named_keys(jax.random.key(seed), "init")["init"]
    return jax.jit(task.init, out_shardings=placement.state_shardings(mesh, task))(key)


def step_program(task: Task, mesh: Mesh) -> Any:
    """The jitted step, not yet compiled.

    It takes and returns what `Task.step` does, but with the run's key in place of the step's, and
    uses up the state it is given.
    """

    def step(state: TrainState, batch: Batch, key: PRNGKeyArray) -> tuple[TrainState, Metrics]:
        return task.step(state, batch, keys.step_key(key, state.step))

    # Without output shardings gradients and state would lose the fsdp axis.
    places = (placement.state_shardings(mesh, task), meshes.replicated(mesh))
    return jax.jit(step, out_shardings=places, donate_argnums=0)


def compile_step(task: Task, mesh: Mesh, state: TrainState, batch: Batch, key: Any) -> Step:
    """`step_program`, compiled ahead of its first call; all three arguments may be abstract."""
    start = time.perf_counter()
    traced = step_program(task, mesh).trace(state, batch, key)
    lowered = traced.lower()
    return Step(lowered.compile(), time.perf_counter() - start, traced, lowered)


def cache_use() -> tuple[int, int]:
    """How many programs this process asked JAX's compile cache for, and how many it had.

    They count from the first call on.
    """
    heard = _heard()
    asked, had = (heard.count(name) for name in CACHE_EVENTS)
    return asked, had


@functools.cache
def _heard() -> list[str]:
    names: list[str] = []

    def listen(event: str, **_: Any) -> None:
        name = event.rpartition("/")[2]
        if name in CACHE_EVENTS:
            names.append(name)

    jax.monitoring.register_event_listener(listen)
    return names
