"""Codes without a codebook: bijections, nearest levels, gradients and entropies by NumPy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from resgen_jax.core import errors
from resgen_jax.losses import quantization
from resgen_jax.quantizers import scalar

LEVELS = (3, 4, 5, 8)
NUM_BITS = 4


@pytest.fixture
def latents(key):
    return 2.0 * jax.random.normal(key, (6, 7, len(LEVELS)))


def test_every_fsq_code_has_its_own_vector_and_comes_back():
    size = scalar.fsq_size(LEVELS)
    assert size == 480
    codes = jnp.arange(size)
    vectors = np.asarray(scalar.fsq_decode(codes, LEVELS))
    assert len(np.unique(vectors, axis=0)) == size
    for channel, count in enumerate(LEVELS):
        steps = (np.arange(count) - count // 2) / (count // 2)
        np.testing.assert_allclose(np.unique(vectors[:, channel]), steps, atol=1e-6)
    np.testing.assert_allclose(vectors[1] - vectors[0], [1, 0, 0, 0], atol=1e-6)
    # The latents that the bound takes to a vector are quantized to it, and have its code.
    half = (np.array(LEVELS) - 1) * 1.001 / 2
    offset = np.where(np.array(LEVELS) % 2 == 0, 0.5, 0.0)
    bounded = vectors * (np.array(LEVELS) // 2)
    latents = np.arctanh((bounded + offset) / half) - np.arctanh(offset / half)
    latents = jnp.asarray(latents, jnp.float32)
    np.testing.assert_allclose(scalar.fsq_quantize(latents, LEVELS), vectors, atol=1e-5)
    np.testing.assert_array_equal(scalar.fsq_encode(latents, LEVELS), codes)


def test_fsq_rounds_the_bounded_latents_and_passes_the_bounds_gradient(latents):
    counts = np.array(LEVELS)
    half, offset = (counts - 1) * 1.001 / 2, np.where(counts % 2 == 0, 0.5, 0.0)
    inner = np.asarray(latents, np.float64) + np.arctanh(offset / half)
    expected = np.round(np.tanh(inner) * half - offset) / (counts // 2)
    quantize = functools.partial(scalar.fsq_quantize, levels=LEVELS)
    found, pull = jax.vjp(jax.jit(quantize), latents)
    np.testing.assert_allclose(found, expected, atol=1e-6)
    (gradient,) = pull(jnp.ones_like(found))
    np.testing.assert_allclose(
        gradient, (1 - np.tanh(inner) ** 2) * half / (counts // 2), atol=1e-5
    )
    decoded = scalar.fsq_decode(scalar.fsq_encode(latents, LEVELS), LEVELS)
    np.testing.assert_allclose(decoded, expected, atol=1e-6)
    # Zero is a level of every channel, and far latents reach the outer ones.
    assert (scalar.fsq_quantize(jnp.zeros((1, 4)), LEVELS) == 0).all()
    ends = scalar.fsq_encode(jnp.array([[-9.0] * 4, [9.0] * 4]), LEVELS)
    np.testing.assert_array_equal(ends, [0, 479])


def test_every_lfq_code_has_its_own_signs_and_comes_back():
    codes = jnp.arange(2**NUM_BITS)
    signs = np.asarray(scalar.lfq_decode(codes, NUM_BITS))
    expected = [[2 * int(bit) - 1 for bit in f"{code:04b}"] for code in range(16)]
    np.testing.assert_array_equal(signs, expected)
    np.testing.assert_array_equal(scalar.lfq_encode(jnp.asarray(signs)), codes)


def test_lfq_takes_the_nearest_corner_and_passes_the_gradient(latents):
    corners = np.asarray(scalar.lfq_decode(jnp.arange(16), NUM_BITS))
    distance = ((np.asarray(latents)[..., None, :] - corners) ** 2).sum(-1)
    np.testing.assert_array_equal(scalar.lfq_encode(latents), distance.argmin(-1))
    found, pull = jax.vjp(scalar.lfq_quantize, latents)
    np.testing.assert_allclose(found, np.sign(latents), atol=1e-6)
    np.testing.assert_array_equal(pull(latents)[0], latents)
    logits = np.asarray(scalar.lfq_logits(latents, 0.7), np.float64)
    np.testing.assert_allclose(
        scipy.special.softmax(logits, -1), scipy.special.softmax(-distance / 0.7, -1), atol=1e-5
    )


@pytest.mark.parametrize("max_distances", [5 * 16, 2**20])
def test_lfq_entropy_is_that_of_all_codes(latents, key, max_distances):
    is_valid = jax.random.bernoulli(key, 0.7, latents.shape[:2])

    def dense(latents):
        return quantization.entropy_loss(scalar.lfq_logits(latents, 2.0), 0.8, is_valid)

    def chunked(latents):
        return scalar.lfq_entropy_loss(latents, 2.0, 0.8, is_valid, max_distances=max_distances)

    expected, expected_gradient = jax.jit(jax.value_and_grad(dense))(latents)
    found, gradient = jax.jit(jax.value_and_grad(chunked))(latents)
    assert float(found) == pytest.approx(float(expected), abs=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6)
    assert (gradient[~is_valid] == 0).all()


def test_lfq_entropy_is_lowest_where_vectors_are_sure_and_all_codes_used():
    corners = scalar.lfq_decode(jnp.arange(16), NUM_BITS)
    loss, gradient = jax.value_and_grad(scalar.lfq_entropy_loss)(corners)
    assert float(loss) == pytest.approx(-np.log(16), rel=1e-4)
    assert jnp.isfinite(gradient).all()
    # Undecided vectors: each as unsure as the batch.
    assert float(scalar.lfq_entropy_loss(0.0 * corners)) == pytest.approx(0.0, abs=1e-5)


def test_bad_arguments_are_told(latents):
    with pytest.raises(errors.UserError, match=r"levels are \(2, 4\); expected 3 or more"):
        scalar.fsq_size((2, 4))
    with pytest.raises(errors.UserError, match=r"make 2147483648 codes; expected less than 2\^31"):
        scalar.fsq_size((2**11, 2**20))
    with pytest.raises(errors.UserError, match="4 channels and there are 2 levels"):
        scalar.fsq_quantize(latents, (3, 3))
    with pytest.raises(errors.UserError, match="31 channels; LFQ expects 1 to 30"):
        scalar.lfq_encode(jnp.zeros((1, 31)))
