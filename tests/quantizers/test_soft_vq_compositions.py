"""Products and sums of SoftVQ against NumPy, and that one part of either is the plain form."""

import inspect
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import soft_vq_references as references

from resgen_jax.core import errors
from resgen_jax.quantizers import soft_vq, soft_vq_compositions

DEPTH, NUM_CODES, CODE_DIM = 3, 8, 4
SHAPE = (2, 3, CODE_DIM)

plain = jax.jit(soft_vq.quantize)
product = jax.jit(soft_vq_compositions.quantize_product, static_argnames="max_distances")
residual = jax.jit(soft_vq_compositions.quantize_residual, static_argnames="max_distances")


@pytest.fixture
def latents(key):
    return 3.0 * jax.random.normal(jax.random.fold_in(key, 1), SHAPE)


@pytest.fixture
def codebooks(key):
    return jax.random.normal(jax.random.fold_in(key, 2), (DEPTH, NUM_CODES, CODE_DIM))


def levels(latents, codebooks, temperature, fixed=None):
    """Level by level in float64: codes of the direction of what is left, times its length."""
    fixed = codebooks if fixed is None else fixed
    left = references.unit(latents)
    total = np.zeros(left.shape)
    for table, fixed_table in zip(codebooks, fixed, strict=True):
        length = np.linalg.norm(left, axis=-1, keepdims=True)
        found = references.quantize(left, table[None], temperature, fixed=fixed_table[None])
        total, left = total + length * found, left - length * found
    return total


@pytest.mark.parametrize("max_distances", [1000, 8])
def test_a_product_quantizes_parts_of_the_channels(latents, codebooks, max_distances):
    tables = codebooks[:2, :, :2]
    found = product(latents, tables, 0.2, max_distances=max_distances)
    for part in range(2):
        channels = slice(2 * part, 2 * part + 2)
        expected = references.quantize(latents[..., channels], tables[part : part + 1], 0.2)
        np.testing.assert_allclose(found[..., channels], expected, atol=1e-5)


def test_one_part_and_one_level_are_the_plain_form(latents, codebooks):
    expected = plain(latents, codebooks[:1])
    np.testing.assert_allclose(product(latents, codebooks[:1]), expected, atol=1e-6)
    np.testing.assert_allclose(residual(latents, codebooks[:1]), expected, atol=1e-6)
    nothing = jnp.zeros(SHAPE)
    expected = plain(nothing, codebooks[:1])
    np.testing.assert_allclose(residual(nothing, codebooks[:1]), expected, atol=1e-6)


@pytest.mark.parametrize("num_parts", [1, 2, 4])
def test_channels_are_joined_as_they_were_split(latents, num_parts):
    parts = soft_vq_compositions.split_channels(latents, num_parts)
    assert parts.shape == (2, 3 * num_parts, CODE_DIM // num_parts)
    np.testing.assert_array_equal(parts[:, 1], latents[:, 1, : CODE_DIM // num_parts])
    joined = soft_vq_compositions.join_channels(parts, num_parts)
    np.testing.assert_array_equal(joined, latents)


def test_a_product_of_parts_trains_as_segments(latents, codebooks):
    tables = codebooks[:2, :, :2]
    parts = soft_vq_compositions.split_channels(latents, 2)
    found = soft_vq.quantize_for_training(parts, tables)
    joined = soft_vq_compositions.join_channels(found.quantized, 2)
    np.testing.assert_allclose(joined, product(latents, tables), atol=1e-6)
    assert found.code_counts.sum() == 2 * 2 * 3


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("max_distances", [1000, 8])
def test_a_residual_quantizes_what_coarser_levels_leave(
    latents, codebooks, temperature, max_distances
):
    found = residual(latents, codebooks, temperature, max_distances=max_distances)
    expected = levels(latents, references.as_float64(codebooks), temperature)
    np.testing.assert_allclose(found, expected, atol=2e-5)


def test_finer_levels_come_closer(key):
    latents = jax.random.normal(key, (4, 8, CODE_DIM))
    tables = soft_vq.random_codebooks(jax.random.fold_in(key, 5), DEPTH, 64, CODE_DIM)
    directions = references.unit(latents)
    left = [
        np.mean((directions - residual(latents, tables[:depth], 0.02)) ** 2)
        for depth in range(1, DEPTH + 1)
    ]
    assert left[2] < 0.5 * left[1] < 0.25 * left[0]


def test_gradients_of_the_residual_are_those_with_fixed_codes_in_the_cosines(latents, codebooks):
    weights = np.random.default_rng(7).normal(size=SHAPE)

    def loss(latents, codebooks):
        return jnp.sum(residual(latents, codebooks, 0.5) * jnp.asarray(weights, jnp.float32))

    to_latents, to_books = jax.grad(loss, (0, 1))(latents, codebooks)
    fixed = references.as_float64(codebooks)
    expected = references.slopes(lambda x: np.sum(levels(x, fixed, 0.5) * weights), latents)
    np.testing.assert_allclose(to_latents, expected, rtol=2e-3, atol=2e-4)
    expected = references.slopes(
        lambda e: np.sum(levels(latents, e, 0.5, fixed=fixed) * weights), codebooks
    )
    np.testing.assert_allclose(to_books, expected, rtol=2e-3, atol=2e-4)


def test_gradients_are_finite_where_nothing_is_left(codebooks):
    # The first level is exact when cold, and the latents are its codes.
    latents = codebooks[:1, :6].reshape(SHAPE)
    loss = lambda *pair: jnp.sum(residual(*pair, 1e-3))  # noqa: E731
    gradients = jax.grad(loss, (0, 1))(latents, codebooks)
    assert all(jnp.isfinite(gradient).all() for gradient in gradients)


def test_half_precision_does_not_overflow(latents, codebooks):
    latents, tables = (3e3 * latents).astype(jnp.float16), codebooks.astype(jnp.bfloat16)
    for found, expected in (
        (residual(latents, tables), levels(latents, references.as_float64(tables), 0.07)),
        (product(latents, tables[:1]), references.quantize(latents, tables[:1], 0.07)),
    ):
        assert found.dtype == jnp.float32
        np.testing.assert_allclose(found, expected, atol=1e-4)


def test_channels_that_do_not_add_up_are_told(latents, codebooks):
    for books, sum_of in (
        (codebooks[:2], "2 codebooks of 4 channels take 8"),
        (codebooks[:3, :, :1], "3"),
    ):
        message = re.escape(f"latents have 4 channels; {sum_of}")
        with pytest.raises(errors.UserError, match=message):
            inspect.unwrap(soft_vq_compositions.quantize_product)(latents, books)
    with pytest.raises(errors.UserError, match=r"4 channels, which 3 codebooks cannot share"):
        soft_vq_compositions.split_channels(latents, 3)
    with pytest.raises(errors.UserError, match=r"latents have 4 channels and the codebook 3"):
        inspect.unwrap(soft_vq_compositions.quantize_residual)(latents, codebooks[..., :3])
    with pytest.raises(errors.UserError, match=r"expected 1 or more"):
        soft_vq_compositions.quantize_residual(latents, codebooks[:0])


@pytest.mark.parametrize("temperature", [0.0, -1.0])
def test_temperatures_that_do_not_divide_are_told(latents, codebooks, temperature):
    for function, tables in (
        (soft_vq_compositions.quantize_product, codebooks[:1]),
        (soft_vq_compositions.quantize_residual, codebooks),
    ):
        with pytest.raises(errors.UserError, match=r"temperature is .*; expected a number above 0"):
            function(latents, tables, temperature)
