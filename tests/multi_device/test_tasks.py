"""Tokenizer and generator train on every mesh as on one device."""

import jax
import mesh_laws
import numpy as np
import pytest
from mesh_tasks import TASKS

from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import placement

MESHES = ((8, 1, 1), (2, 4, 1), (2, 2, 2))


@pytest.fixture(scope="module")
def alone():
    """Each task after three steps on one device."""
    mesh = meshes.make(meshes.Spec(1, 1, 1), jax.devices()[:1])
    return {name: mesh_laws.run_steps(make()[0], mesh, make()[1]) for name, make in TASKS.items()}


@pytest.fixture(
    scope="module",
    params=[
        *((name, sizes) for name in ("tokenizer", "generator") for sizes in MESHES),
        ("adversarial", (2, 2, 2)),
    ],
    ids=lambda param: f"{param[0]}-{'x'.join(map(str, param[1]))}",
)
def together(request):
    """Name and task with its state and metrics after three steps on a mesh of eight devices."""
    name, sizes = request.param
    mesh = meshes.make(meshes.Spec(*sizes), jax.devices())
    task, batches = TASKS[name]()
    return name, task, mesh, *mesh_laws.run_steps(task, mesh, batches)


def test_the_losses_are_those_of_one_device(together, alone):
    name, _, _, _, history = together
    for step, (got, want) in enumerate(zip(history, alone[name][1], strict=True)):
        for metric in ("loss", "grad_norm", "learning_rate"):
            np.testing.assert_allclose(
                got[metric], want[metric], rtol=1e-5, err_msg=f"{metric} at step {step}"
            )
        assert set(got) == set(want)


def test_the_statistics_are_those_of_one_device(together, alone):
    name, _, _, state, _ = together
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5),
        jax.device_get(state.statistics),
        jax.device_get(alone[name][0].statistics),
    )


def test_the_parameters_are_those_of_one_device(together, alone):
    name, _, _, state, _ = together
    jax.tree.map(
        lambda got, want: np.testing.assert_allclose(got, want, rtol=1e-3, atol=1e-4),
        jax.device_get(state.params),
        jax.device_get(alone[name][0].params),
    )


def test_the_parameters_are_really_split(together):
    name, task, mesh, state, _ = together
    mesh_laws.assert_sharded(state, placement.state_shardings(mesh, task))
    kernels = {
        "tokenizer": ("encoder", "conv_in", "kernel"),
        "generator": ("trunk", "blocks", "up", "kernel"),
        "adversarial": ("discriminator", "convs", "1", "kernel"),
    }
    num_pieces = mesh.shape["fsdp"] * mesh.shape["tensor"]
    adam = next(part for part in _adams(state.opt_state) if kernels[name][0] in part.mu)
    for tree in (state.params, state.average_params, adam.mu, adam.nu):
        leaf = tree
        for part in kernels[name]:
            leaf = leaf[part]
        pieces = {str(shard.index) for shard in leaf.addressable_shards}
        assert len(pieces) == num_pieces
        assert leaf.addressable_shards[0].data.size * num_pieces == leaf.size


def _adams(opt_state):
    """Adam's states, of one optimizer or of each side; without the parameters of the other."""

    def is_adam(node):
        return hasattr(node, "mu")

    found = [node for node in jax.tree.leaves(opt_state, is_leaf=is_adam) if is_adam(node)]
    return [
        adam._replace(
            mu={name: part for name, part in adam.mu.items() if jax.tree.leaves(part)},
            nu={name: part for name, part in adam.nu.items() if jax.tree.leaves(part)},
        )
        for adam in found
    ]


def test_held_out_metrics_are_those_of_one_device(together, alone):
    name, task, mesh, state, _ = together
    if mesh.shape["tensor"] == 1:
        pytest.skip("the mesh that splits along all axes stands for the others")
    batch = TASKS[name]()[1][0] | {"is_valid": np.arange(16) < 13}
    key = jax.random.key(4)
    expected = jax.jit(task.evaluate)(jax.device_get(alone[name][0]), batch, key)
    with jax.set_mesh(mesh):
        metrics = jax.jit(task.evaluate)(state, meshes.put_batch(mesh, batch), key)
    for metric, value in expected.items():
        # A draw may take the next component, where two are as good as equal.
        tolerance = 1e-3 if metric.startswith("code_nll") else 1e-4
        np.testing.assert_allclose(metrics[metric], value, rtol=tolerance, err_msg=metric)
