"""Laws of training on several devices, shown with the toy task."""

import mesh_laws
import numpy as np
import toy_task

from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import optimizer, placement


def batches(num_batches=3, batch_size=16):
    return [toy_task.batch(batch_size, seed=number) for number in range(num_batches)]


def test_every_mesh_trains_as_one_device(mesh, single):
    mesh_laws.assert_same_training(toy_task.ToyTask(), mesh, single, batches())


def test_accumulation_on_a_mesh_equals_one_device(mesh, single):
    spec = optimizer.Spec(learning_rate=1e-2, num_microbatches=2)
    task = toy_task.ToyTask(spec=spec, noise=0.0)
    whole = toy_task.ToyTask(spec=optimizer.Spec(learning_rate=1e-2), noise=0.0)
    _, accumulated = mesh_laws.run_steps(task, mesh, batches())
    _, expected = mesh_laws.run_steps(whole, single, batches())
    for got, want in zip(accumulated, expected, strict=True):
        np.testing.assert_allclose(got["loss"], want["loss"], rtol=1e-5)


def test_the_state_stays_where_the_rules_put_it(mesh):
    task = toy_task.ToyTask()
    state, _ = mesh_laws.run_steps(task, mesh, batches(2))
    mesh_laws.assert_sharded(state, placement.state_shardings(mesh, task))


def test_rows_go_to_the_devices_in_order(mesh):
    host = toy_task.batch()
    for name, rows in meshes.put_batch(mesh, host).items():
        np.testing.assert_array_equal(rows, host[name])
        assert rows.sharding == meshes.batch_sharding(mesh)
