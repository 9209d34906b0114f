"""Laws of a step of the RQ-VAE: however many microbatches it takes, and with every learner."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_tasks

from resgen_jax.core import keys
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.training import adversary, placement, rq_vae_loss


@pytest.fixture(scope="module")
def batch():
    return jax.tree.map(jnp.asarray, tiny_tasks.images(16))


@pytest.mark.parametrize("adversarial", [None, adversary.Spec(width=4, num_layers=1)])
def test_microbatches_are_one_batch(batch, adversarial):
    """From the start of the codebooks on, some images decoded from fewer levels.

    The discriminator normalises over the batch, and its weight is that of two norms.
    """
    loss = rq_vae_loss.LossSpec(start_step=1, depth_drop_rate=0.5)

    def stepped(num_microbatches):
        spec = dataclasses.replace(
            tiny_tasks.OPTIMIZER, b1=0.0, num_microbatches=num_microbatches, clip_norm=0.0
        )
        task = tiny_tasks.tokenizer(loss, spec, adversarial=adversarial)
        step, state = jax.jit(task.step), jax.jit(task.init)(jax.random.key(0))
        for number in range(2):
            # From the same state, lest Adam makes much of small differences.
            state, metrics = step(states.setdefault(number, state), batch, jax.random.key(number))
        # With b1 = 0, Adam's first moment is the gradient.
        return state.opt_state, state.statistics, metrics

    states = {}
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4),
        stepped(1),
        stepped(4),
    )


@pytest.mark.parametrize("learner", quantizers.LEARNERS)
def test_a_step_keeps_the_state_of_every_learner(learner, batch, single):
    task = tiny_tasks.tokenizer(learner=learner, codebook_size=16, num_beams=2)
    state = placement.abstract_state(single, task)  # with the axes of every array
    after, _ = jax.eval_shape(task.step, state, batch, jax.random.key(0))
    shapes = [jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), each) for each in (state, after)]
    assert shapes[0] == shapes[1]


@pytest.mark.parametrize("learner", ["gradient", "sim_vq"])
def test_gradients_move_the_codebooks_from_their_start_on(learner, batch):
    loss = rq_vae_loss.LossSpec(start_step=1)
    task = tiny_tasks.tokenizer(loss, learner=learner, learning_rate=0.02, restart_threshold=0.0)
    step, states = jax.jit(task.step), [jax.jit(task.init)(jax.random.key(0))]
    for number in range(2):
        state, metrics = step(states[-1], batch, keys.step_key(jax.random.key(1), number))
        states.append(state)
        assert np.isfinite(metrics["loss"])
    assert [int(state.statistics["learner"].moments.num_steps) for state in states] == [0, 0, 1]
    random, started, moved = (
        np.asarray(task.learner.codebooks(state.statistics["learner"])) for state in states
    )
    assert (started != random).any(axis=-1).all()
    assert (moved != started).any(axis=(1, 2)).all()
