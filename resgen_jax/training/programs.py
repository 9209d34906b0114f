"""The two compiled programs of a run: the first state and the step."""

import time
from typing import Any

import jax
from jax.sharding import Mesh
from jaxtyping import PRNGKeyArray

from resgen_jax.core import keys
from resgen_jax.training import mesh as meshes
from resgen_jax.training.state import Batch, Metrics, Task, TrainState


def initial_state(task: Task, mesh: Mesh, seed: int) -> TrainState:
    """The state before the first step, born sharded."""
    key = keys.named_keys(jax.random.key(seed), "init")["init"]
    return jax.jit(task.init, out_shardings=meshes.state_shardings(mesh, task))(key)


def step_program(task: Task, mesh: Mesh) -> Any:
    """The jitted step, not yet compiled.

    It takes and returns what `Task.step` does, but with the run's key in place of the step's, and
    uses up the state it is given.
    """

    def step(state: TrainState, batch: Batch, key: PRNGKeyArray) -> tuple[TrainState, Metrics]:
        return task.step(state, batch, keys.step_key(key, state.step))

    # Without output shardings gradients and state would lose the fsdp axis.
    places = (meshes.state_shardings(mesh, task), meshes.replicated(mesh))
    return jax.jit(step, out_shardings=places, donate_argnums=0)


def compile_step(
    task: Task, mesh: Mesh, state: TrainState, batch: Batch, key: Any
) -> tuple[Any, float]:
    """`step_program`, compiled ahead of its first call, and the seconds that took.

    All three arguments may be abstract.
    """
    start = time.perf_counter()
    program = step_program(task, mesh).lower(state, batch, key)
    return program.compile(), time.perf_counter() - start
