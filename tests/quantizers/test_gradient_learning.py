"""Codebooks descend the codebook loss: its gradient by hand, where it leads, what restarts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from resgen_jax.losses import quantization
from resgen_jax.quantizers import codebook_averages, gradient_learning, interface, rvq

SPEC = interface.Spec(
    code_dim=3, depth=2, codebook_size=5, learning_rate=0.05, restart_threshold=0.0
)


@pytest.fixture
def latents(key):
    return 2.0 * jax.random.normal(jax.random.fold_in(key, 1), (6, 7, 3))


@pytest.fixture(scope="module")
def learner():
    learner = interface.make("gradient", SPEC)
    return learner._replace(update=jax.jit(learner.update), quantize=jax.jit(learner.quantize))


def follow(learner, state, latents, num_steps):
    def step(state, _):
        quantized = learner.quantize(state, latents)
        return learner.update(state, latents, quantized, jax.random.key(0)), None

    return jax.jit(lambda state: jax.lax.scan(step, state, length=num_steps)[0])(state)


def loss_of_levels(codebooks, latents, codes, is_valid):
    """The codebook loss of each level on the residual it sees, added up."""
    total, residual = 0.0, latents
    for level, table in enumerate(codebooks):
        chosen = table[codes[..., level]]
        loss = quantization.codebook_loss(residual, chosen)
        total += jnp.sum(loss, where=is_valid) / jnp.sum(is_valid).astype(jnp.float32)
        residual = jax.lax.stop_gradient(residual - chosen)
    return total


def test_the_gradient_is_that_of_the_codebook_loss_by_hand_and_by_autodiff(latents, key):
    books = codebook_averages.random_codebooks(key, 2, 5, 3)
    codes, _ = rvq.encode(latents, books)
    is_valid = jnp.arange(7)[None] < jnp.arange(2, 8)[:, None]
    batch = codebook_averages.statistics(latents, codes, books, is_valid)
    found = np.asarray(gradient_learning.codebook_gradient(books, batch))
    expected = jax.grad(loss_of_levels)(books, latents, codes, is_valid)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    rows, row_codes = np.asarray(latents)[is_valid], np.asarray(codes)[is_valid]
    by_hand = np.zeros_like(found)
    for row, (first, second) in zip(rows, row_codes, strict=True):
        left = row - np.asarray(books)[0, first]
        by_hand[0, first] -= 2 * left / (len(rows) * 3)
        by_hand[1, second] -= 2 * (left - np.asarray(books)[1, second]) / (len(rows) * 3)
    np.testing.assert_allclose(found, by_hand, rtol=1e-4, atol=1e-6)


def test_a_step_is_adams_with_its_moments_kept_in_the_state(learner, latents, key):
    state = learner.init(key)
    adam = optax.adam(SPEC.learning_rate)
    books, memory = state.codebooks, adam.init(state.codebooks)
    is_valid = jnp.ones(latents.shape[:-1], bool)
    for _ in range(3):
        quantized = learner.quantize(state, latents)
        gradient = jax.grad(loss_of_levels)(books, latents, quantized.codes, is_valid)
        with jax.numpy_dtype_promotion("standard"):
            updates, memory = adam.update(gradient, memory)
        books = books + updates
        state = learner.update(state, latents, quantized, key)
    np.testing.assert_allclose(state.codebooks, books, rtol=1e-4, atol=1e-4)
    assert int(state.moments.num_steps) == 3


def test_codes_of_one_vector_each_move_to_it(key):
    spec = dataclasses.replace(SPEC, depth=1)
    learner = interface.make("gradient", spec)
    latents = 2.0 * jnp.concatenate([jnp.eye(3), -jnp.eye(3)[:2]])
    state = learner.init(key)
    books = (latents + 0.3 * jax.random.normal(key, (5, 3)))[None]
    state = follow(learner, state.replace(codebooks=books), latents, 300)
    np.testing.assert_allclose(state.codebooks[0], latents, atol=1e-2)


def test_the_start_has_the_means_of_k_means_and_no_memory(learner, latents, key):
    state = follow(learner, learner.init(key), latents, 2)
    started = learner.start(state, latents, key)
    assert int(started.moments.num_steps) == 0
    assert (started.moments.second == 0).all()
    ema = interface.make("ema", dataclasses.replace(SPEC, smoothing=0.0))
    stats = ema.start(ema.init(key), latents, key)
    np.testing.assert_allclose(started.codebooks, ema.codebooks(stats), rtol=1e-6)
    np.testing.assert_array_equal(started.counts, stats.counts)


def test_dead_codes_restart_with_moments_of_zero(latents, key):
    learner = interface.make("gradient", dataclasses.replace(SPEC, decay=0.0, depth=1))
    restarting = dataclasses.replace(SPEC, decay=0.0, depth=1, restart_threshold=0.5)
    # All but the first code lie too far away to be chosen.
    books = jnp.full((1, 5, 3), 100.0).at[:, 0].set(0.0)
    state = learner.init(key)
    state = follow(learner, state, latents, 2).replace(codebooks=books)
    quantized = learner.quantize(state, latents)
    without = learner.update(state, latents, quantized, key)
    found = interface.make("gradient", restarting).update(state, latents, quantized, key)
    np.testing.assert_array_equal(found.codebooks[:, 0], without.codebooks[:, 0])
    assert (jnp.abs(without.codebooks[:, 1:]) > 50).all()
    rows = {tuple(row) for row in np.asarray(latents).reshape(-1, 3)}
    assert {tuple(row) for row in np.asarray(found.codebooks[0, 1:])} <= rows
    assert (found.moments.first[:, 1:] == 0).all()
    assert (found.moments.second[:, 0] > 0).all()
    assert set(np.unique(learner.quantize(found, latents).codes)) >= {1, 2, 3, 4}
