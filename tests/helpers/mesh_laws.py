"""Laws that hold for every task on every mesh; used by the tests of each task."""

import jax
import numpy as np

from resgen_jax.core import keys
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import placement


def run_steps(task, mesh, batches, seed=0):
    """Take one step per host batch on `mesh`; the last state and each step's metrics."""
    shardings = placement.state_shardings(mesh, task)
    key = jax.random.key(seed)
    with jax.set_mesh(mesh):
        state = jax.jit(task.init, out_shardings=shardings)(key)
        step = jax.jit(
            task.step, out_shardings=(shardings, meshes.replicated(mesh)), donate_argnums=0
        )
        history = []
        for number, batch in enumerate(batches):
            batch = meshes.put_batch(mesh, batch)
            state, metrics = step(state, batch, keys.step_key(key, number))
            history.append(jax.device_get(metrics))
    return state, history


def assert_same_training(task, mesh, single, batches, *, rtol=1e-5, atol=1e-6):
    """Losses and states on `mesh` equal those on the one-device mesh `single`."""
    expected_state, expected = run_steps(task, single, batches)
    state, history = run_steps(task, mesh, batches)
    for step, (got, want) in enumerate(zip(history, expected, strict=True)):
        for name in want:
            np.testing.assert_allclose(
                got[name], want[name], rtol=rtol, atol=atol, err_msg=f"{name} at step {step}"
            )
    statistics = jax.device_get(state.statistics)
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-5),
        statistics,
        jax.device_get(expected_state.statistics),
    )


def assert_sharded(state, shardings):
    """Every array of the state lies where its sharding says."""

    def check(array, sharding):
        assert array.sharding.is_equivalent_to(sharding, array.ndim), (array.shape, sharding)

    jax.tree.map(check, state, shardings)
