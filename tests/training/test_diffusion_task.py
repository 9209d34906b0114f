"""Training diffusion on latents: its loss, parts and meshes, and that samples come out right."""

import dataclasses

import jax
import jax.numpy as jnp
import mesh_laws
import numpy as np
import pytest
import tiny_diffusion as tiny

from resgen_jax.core import keys, spaces
from resgen_jax.generators import diffusion_transformer
from resgen_jax.runtime import mesh as meshes
from resgen_jax.samplers import ode, time_grids
from resgen_jax.training import diffusion_loss, diffusion_task, optimizer, variance_bound
from resgen_jax.training.state import Task

LENGTHS = jnp.array([4, 2, 3, 1, 4, 4, 2, 1], jnp.int32)
VARIANCE = dataclasses.replace(tiny.SPEC, learns_variance=True)
KINDS = {
    "velocity": (tiny.SPEC, diffusion_loss.LossSpec(condition_drop_rate=0.5)),
    "variance": (VARIANCE, dataclasses.replace(tiny.STEPS, condition_drop_rate=0.5)),
}


@pytest.fixture(params=KINDS)
def task(request):
    return tiny.task(*KINDS[request.param])


def random_state(task):
    """With parameters of every size, gates open; others in the average."""
    state = task.init(jax.random.key(0))
    random = np.random.default_rng(0)

    def normal(leaf):
        return jnp.asarray(random.normal(0, 0.3, leaf.shape), jnp.float32)

    params = jax.tree.map(normal, state.params)
    return state.replace(params=params, average_params=jax.tree.map(normal, state.params))


def test_the_loop_knows_it_as_a_task(task):
    assert isinstance(task, Task)
    state = jax.eval_shape(task.init, jax.random.key(0))
    assert (task.statistics_axes(), state.statistics, task.remarks({})) == ({}, {}, {})
    assert jax.tree.structure(state.params) == jax.tree.structure(
        task.axes(), is_leaf=lambda node: isinstance(node, tuple)
    )
    forward, arguments = task.forward_program(2)
    channels = tiny.CHANNELS * (1 + task.model.learns_variance)
    assert jax.eval_shape(forward, *arguments).shape == (2, tiny.LENGTH, channels)
    flops = diffusion_transformer.forward_flops(task.model, tiny.SPACE)
    assert task.flops_per_example() == 3 * flops


def test_the_held_out_loss_is_that_of_averaged_parameters_told_all_labels(task):
    state, key = random_state(task), jax.random.key(5)
    batch = tiny.batch() | {"lengths": LENGTHS, "is_valid": jnp.arange(8) != 4}
    found = jax.jit(task.evaluate)(state, batch, key)
    drawn = diffusion_loss.draw(batch, key, task.loss, tiny.SPACE, is_training=False)
    is_real = jnp.arange(tiny.LENGTH)[None] < LENGTHS[:, None]
    cells = np.asarray(is_real) & (np.arange(8) != 4)[:, None]
    outputs = task.network.apply(
        state.average_params, drawn["states"], drawn["times"], batch["labels"], is_real
    )
    predicted = np.asarray(outputs)[..., : tiny.CHANNELS]
    error = np.mean((predicted - np.asarray(drawn["target"]))[cells] ** 2)
    np.testing.assert_allclose(found["squared_error"], error, rtol=1e-4)
    assert found["num_examples"] == 7
    if not task.model.learns_variance:
        assert "bound" not in found
        np.testing.assert_allclose(found["loss"], error, rtol=1e-4)
        return
    share = (outputs[..., tiny.CHANNELS :] + 1) / 2
    bits = variance_bound.bits(
        drawn["times"],
        drawn["target"],
        jnp.asarray(predicted),
        share,
        variance_bound.steps_of(1000),
    )
    np.testing.assert_allclose(found["bound"], np.mean(np.asarray(bits)[cells]), rtol=1e-4)
    np.testing.assert_allclose(found["loss"], found["squared_error"] + found["bound"], rtol=1e-5)


def test_a_step_in_parts_is_a_step():
    model, loss = KINDS["variance"]
    whole = tiny.task(model, loss)
    parts = tiny.task(model, loss, dataclasses.replace(tiny.OPTIMIZER, num_microbatches=4))
    batch, state, key = tiny.batch() | {"lengths": LENGTHS}, random_state(whole), jax.random.key(1)
    _, wanted = jax.jit(whole.step)(state, batch, key)
    _, found = jax.jit(parts.step)(state, batch, key)
    assert set(found) >= {"loss", "squared_error", "bound", "grad_norm", "learning_rate"}
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-4, err_msg=name)


def test_with_every_label_dropped_a_step_does_not_know_them():
    task = tiny.task(loss=diffusion_loss.LossSpec(condition_drop_rate=1.0))
    batch, state, step = tiny.batch(), random_state(task), jax.jit(task.step)
    other = batch | {"labels": (batch["labels"] + 1) % tiny.CLASSES}
    (moved, metrics), again = (step(state, each, jax.random.key(1)) for each in (batch, other))
    jax.tree.map(np.testing.assert_array_equal, (moved, metrics), again)
    before, after = (each.params["classes"]["table"] for each in (state, moved))
    is_moved = np.any(before != after, axis=1)
    np.testing.assert_array_equal(is_moved, np.arange(tiny.CLASSES + 1) == tiny.CLASSES)


@pytest.mark.slow
def test_a_mesh_trains_as_one_device(single):
    model, loss = KINDS["variance"]
    mesh = meshes.make(meshes.Spec(2, 2, 2), jax.devices())
    batches = [jax.device_get(tiny.batch(16, seed)) for seed in range(2)]
    task = tiny.task(model, loss)
    mesh_laws.assert_same_training(task, mesh, single, batches, rtol=1e-4, atol=1e-5)


MEANS, DEVIATION = np.array([-1.5, 1.5]), 0.5


@pytest.fixture(scope="module")
def learned():
    """Two classes of one normal number each: the task, and its state after training."""
    space = spaces.Space(spaces.Latents(1, 0.0, 1.0), 1, condition=spaces.Class(2))
    model = diffusion_transformer.Spec(num_layers=2, width=32, num_heads=2, remat="none")
    loss = diffusion_loss.LossSpec(average_decay=0.98)
    spec = optimizer.Spec(learning_rate=3e-3, warmup_steps=20, clip_norm=1.0)
    num_steps = 300
    task = diffusion_task.DiffusionTask(model, loss, spec, num_steps, space)

    def step(state, number):
        use = keys.named_keys(keys.step_key(jax.random.key(3), number), "data", "label", "step")
        labels = jax.random.randint(use["label"], (256,), 0, 2)
        data = jnp.asarray(MEANS, jnp.float32)[labels]
        data = data + DEVIATION * jax.random.normal(use["data"], (256,))
        batch = {"latents": data[:, None, None], "labels": labels}
        return task.step(state, batch, use["step"])

    @jax.jit
    def train():
        return jax.lax.scan(step, task.init(jax.random.key(0)), jnp.arange(num_steps))

    state, metrics = train()
    return task, state, np.asarray(metrics["loss"])


def test_the_loss_falls_to_what_cannot_be_known(learned):
    _, _, losses = learned
    # Var(v | states) of a normal number is deviation^2 / (variance of the states); and a tenth of
    # the labels is not told, which costs a little more.
    ratio = np.exp(np.random.default_rng(0).normal(size=100_000))
    time = ratio / (1 + ratio)
    least = np.mean(DEVIATION**2 / ((1 - time) ** 2 * DEVIATION**2 + time**2))
    late = np.mean(losses[-100:])
    assert losses[0] > 2 * least
    assert 0.95 * least < late < 1.35 * least


def test_samples_have_the_law_of_the_data(learned):
    task, state, _ = learned
    labels = jnp.repeat(jnp.arange(2), 1000)

    def velocity(states, times):
        return task.network.apply(state.average_params, states, times, labels)

    noise = jax.random.normal(jax.random.key(9), (2000, 1, 1))
    run = jax.jit(lambda noise: ode.heun(velocity, noise, time_grids.uniform(30)))
    samples = np.asarray(run(noise)).reshape(2, 1000)
    np.testing.assert_allclose(samples.mean(axis=1), MEANS, atol=0.12)
    np.testing.assert_allclose(samples.std(axis=1), DEVIATION, atol=0.12)
