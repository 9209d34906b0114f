"""Estimators keep the quantized value; their gradients are the matrices they promise."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.quantizers import gradients

CODE_DIM = 5


@pytest.fixture
def pair(key):
    """Latents and quantized of different lengths and directions."""
    return tuple(
        scale * jax.random.normal(jax.random.fold_in(key, index), (4, 3, CODE_DIM))
        for index, scale in enumerate((1.0, 2.0))
    )


@functools.partial(jax.jit, static_argnums=0)
def jacobians(estimator, latents, quantized):
    """d value / d latents and d value / d quantized of each vector on its own."""
    one = jax.jacrev(estimator, (0, 1))
    rows = [array.reshape(-1, CODE_DIM) for array in (latents, quantized)]
    return jax.vmap(one)(*rows)


@pytest.mark.parametrize("name", sorted(gradients.GRADIENTS))
def test_the_value_is_quantized_and_nothing_moves_the_codebook(name, pair):
    estimator = gradients.GRADIENTS[name]
    np.testing.assert_array_equal(jax.jit(estimator)(*pair), pair[1])
    _, to_quantized = jacobians(estimator, *pair)
    assert (to_quantized == 0).all()


def test_straight_through_is_the_identity(pair):
    to_latents, _ = jacobians(gradients.straight_through, *pair)
    np.testing.assert_array_equal(to_latents, np.broadcast_to(np.eye(CODE_DIM), to_latents.shape))


def test_rotation_turns_and_stretches_the_latents_onto_quantized(pair):
    to_latents, _ = jacobians(gradients.rotation, *pair)
    for matrix, start, end in zip(
        np.asarray(to_latents), *(np.asarray(x).reshape(-1, CODE_DIM) for x in pair), strict=True
    ):
        stretch = np.linalg.norm(end) / np.linalg.norm(start)
        turn = matrix / stretch
        np.testing.assert_allclose(matrix @ start, end, atol=1e-5)
        np.testing.assert_allclose(turn @ turn.T, np.eye(CODE_DIM), atol=1e-5)
        assert np.linalg.det(turn) == pytest.approx(1.0, abs=1e-5)
        # Nothing moves that is orthogonal to both.
        basis = np.linalg.svd(np.stack([start, end]))[2][2:]
        np.testing.assert_allclose(basis @ turn.T, basis, atol=1e-5)


def test_rotation_of_a_vector_onto_itself_is_the_identity(pair):
    to_latents, _ = jacobians(gradients.rotation, pair[0], pair[0])
    np.testing.assert_allclose(
        to_latents, np.broadcast_to(np.eye(CODE_DIM), to_latents.shape), atol=1e-6
    )


@pytest.mark.parametrize("end", ["zero", "opposite", "any"])
@pytest.mark.parametrize("start", ["zero", "any"])
def test_gradients_stay_finite_where_there_is_no_direction(start, end, pair):
    latents = pair[0] * (0.0 if start == "zero" else 1.0)
    quantized = {"zero": 0.0 * pair[1], "opposite": -2.0 * latents, "any": pair[1]}[end]
    to_latents, _ = jacobians(gradients.rotation, latents, quantized)
    assert jnp.isfinite(to_latents).all()
    if start == "zero":
        np.testing.assert_array_equal(to_latents[0], np.eye(CODE_DIM))


def test_directional_moves_both_along_the_line_between_them(pair, key):
    def exact(latents, quantized):
        return gradients.directional(key, latents, quantized, 0.0)

    np.testing.assert_allclose(jax.jit(exact)(*pair), pair[1], atol=1e-6)
    to_latents, to_quantized = jacobians(exact, *pair)
    difference = np.asarray(pair[1] - pair[0]).reshape(-1, CODE_DIM)
    unit = difference / np.linalg.norm(difference, axis=-1, keepdims=True)
    along = unit[:, :, None] * unit[:, None, :]
    np.testing.assert_allclose(to_quantized, along, atol=1e-5)
    np.testing.assert_allclose(to_latents, np.eye(CODE_DIM) - along, atol=1e-5)


def test_directional_keeps_the_distance_and_turns_at_random(pair, key):
    latents, quantized = pair
    found = [
        gradients.directional(jax.random.fold_in(key, n), latents, quantized, 0.1) for n in range(2)
    ]
    distance = jnp.linalg.norm(quantized - latents, axis=-1)
    for value in found:
        np.testing.assert_allclose(jnp.linalg.norm(value - latents, axis=-1), distance, rtol=1e-4)
    assert jnp.abs(found[0] - found[1]).max() > 0.01
    gradient = jax.grad(lambda x: jnp.sum(gradients.directional(key, x, quantized)))(quantized)
    assert jnp.isfinite(gradient).all()
