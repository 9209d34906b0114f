"""The paper's forms of SoftVQ against NumPy: values, limits, gradients to every input."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soft_vq_references as references

from resgen_jax.core import errors
from resgen_jax.quantizers import codebook as codebook_lib
from resgen_jax.quantizers import soft_vq_forms

GROUPS, NUM_CODES, CODE_DIM = 2, 5, 3
SHAPE = (2, 4, CODE_DIM)

euclidean = jax.jit(soft_vq_forms.quantize_euclidean, static_argnames="max_distances")
mixture = jax.jit(soft_vq_forms.quantize_mixture, static_argnames="max_distances")


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), SHAPE)


@pytest.fixture
def codebooks(key):
    return jax.random.normal(jax.random.fold_in(key, 2), (GROUPS, NUM_CODES, CODE_DIM))


@pytest.fixture
def sharpness(key):
    return jnp.exp(jax.random.normal(jax.random.fold_in(key, 3), SHAPE[:2]))


def weights_of(array):
    return np.random.default_rng(7).normal(size=array.shape)


@pytest.mark.parametrize("max_distances", [1000, 10])
def test_values_by_numpy(latents, codebooks, sharpness, max_distances):
    found = euclidean(latents, codebooks, 0.3, max_distances=max_distances)
    expected = references.quantize_euclidean(latents, codebooks, 0.3)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    found = mixture(latents, codebooks, sharpness, max_distances=max_distances)
    expected = references.quantize_mixture(latents, codebooks, sharpness)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_codes_far_from_zero_are_told_apart_as_well(latents, codebooks):
    found = euclidean(latents + 64.0, codebooks + 64.0, 0.3)
    expected = references.quantize_euclidean(latents, codebooks, 0.3)
    np.testing.assert_allclose(found - 64.0, expected, atol=1e-3)


def test_cold_is_the_nearest_code_and_hot_the_mean(latents, codebooks):
    cold, hot = euclidean(latents, codebooks, 1e-20), euclidean(latents, codebooks, 1e6)
    for group in range(GROUPS):
        part, table = slice(2 * group, 2 * group + 2), codebooks[group]
        rows = latents[:, part].reshape(-1, CODE_DIM)
        nearest = codebook_lib.lookup(codebook_lib.nearest_code(rows, table), table)
        np.testing.assert_allclose(cold[:, part].reshape(-1, CODE_DIM), nearest, atol=1e-5)
        mean = jnp.broadcast_to(table.mean(0), hot[:, part].shape)
        np.testing.assert_allclose(hot[:, part], mean, atol=1e-5)


def test_one_sharpness_is_a_temperature(latents, codebooks):
    found = mixture(latents, codebooks, jnp.full(SHAPE[:2], 1 / 0.3))
    np.testing.assert_allclose(found, euclidean(latents, codebooks, 0.3), atol=1e-6)


def test_the_distance_is_not_squared():
    # Distances 1 and 3 by hand: the shares are as e^-1 to e^-3.
    codebooks = jnp.asarray([[[1.0, 0.0], [-3.0, 0.0]]])
    found = euclidean(jnp.zeros((1, 1, 2)), codebooks, 1.0)
    share = 1 / (1 + np.exp(-2.0))
    np.testing.assert_allclose(found[0, 0], [share - 3 * (1 - share), 0.0], atol=1e-5)


def test_gradients_reach_every_input(latents, codebooks, sharpness):
    weights = weights_of(latents)

    def loss(form):
        return lambda *inputs: jnp.sum(form(*inputs) * jnp.asarray(weights, jnp.float32))

    def check(found, reference, inputs, place):
        def moved(array):
            given = [*inputs]
            given[place] = array
            return np.sum(reference(*given) * weights)

        expected = references.slopes(moved, inputs[place])
        np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-4)

    inputs = latents, codebooks, 0.3
    for place, found in enumerate(jax.grad(loss(euclidean), (0, 1, 2))(*inputs)):
        if place < 2:
            check(found, references.quantize_euclidean, inputs, place)
    inputs = latents, codebooks, sharpness
    for place, found in enumerate(jax.grad(loss(mixture), (0, 1, 2))(*inputs)):
        check(found, references.quantize_mixture, inputs, place)


def test_a_latent_that_is_a_code_has_a_finite_gradient(codebooks):
    latents = jnp.broadcast_to(codebooks[:, :2].reshape(1, 4, CODE_DIM), SHAPE)
    gradients = jax.grad(lambda *pair: jnp.sum(euclidean(*pair, 0.07)), (0, 1))(latents, codebooks)
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)


def test_half_precision_does_not_overflow(latents, codebooks):
    # Squared distances are beyond float16.
    latents, codebooks = (1e4 * latents).astype(jnp.float16), (1e4 * codebooks).astype(jnp.float16)
    for found in (
        euclidean(latents, codebooks, 1e3),
        mixture(latents, codebooks, jnp.full(SHAPE[:2], 1e-3, jnp.bfloat16)),
    ):
        assert found.dtype == jnp.float32
        expected = references.quantize_euclidean(latents, codebooks, 1e3)
        np.testing.assert_allclose(found, expected, rtol=2e-2, atol=100)


def test_what_does_not_suit_is_told(latents, codebooks, sharpness):
    # Unwrapped, functions are without the types that only tests check.
    with pytest.raises(errors.UserError, match=r"temperature is 0.0; expected a number above 0"):
        soft_vq_forms.quantize_euclidean(latents, codebooks, 0.0)
    for form, last in (
        (soft_vq_forms.quantize_euclidean, 0.1),
        (soft_vq_forms.quantize_mixture, sharpness),
    ):
        with pytest.raises(errors.UserError, match=r"latents have 3 channels and the codebook 2"):
            inspect.unwrap(form)(latents, codebooks[..., :2], last)
        with pytest.raises(errors.UserError, match=r"4 positions is not a multiple of 3"):
            form(latents, jnp.zeros((3, 5, CODE_DIM)), last)
    with pytest.raises(errors.UserError, match=r"sharpness goes down to -1; expected .* above 0"):
        soft_vq_forms.quantize_mixture(latents, codebooks, sharpness.at[1, 2].set(-1.0))
    with pytest.raises(errors.UserError, match=r"sharpness goes down to nan"):
        soft_vq_forms.quantize_mixture(latents, codebooks, sharpness.at[1, 2].set(jnp.nan))
    plain = inspect.unwrap(soft_vq_forms.quantize_mixture)
    with pytest.raises(errors.UserError, match=re.escape("has the shape (2, 3); expected (2, 4)")):
        plain(latents, codebooks, sharpness[:, :3])
