"""Drawn codes: their frequencies by NumPy, the greedy limit, and that rows do not matter."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from resgen_jax.core import errors, keys
from resgen_jax.quantizers import rvq, stochastic

DEPTH, NUM_CODES, CODE_DIM = 2, 4, 3


def encode_with(key, latents, codebooks, temperature, **options):
    """A key for each row by its number."""
    row_keys = keys.example_keys(key, jnp.arange(latents[..., 0].size))
    row_keys = row_keys.reshape(latents.shape[:-1])
    return stochastic.encode_rows(row_keys, latents, codebooks, temperature, **options)


encode = jax.jit(encode_with, static_argnames="max_distances")
encode_rows = jax.jit(stochastic.encode_rows)
soft_codes = jax.jit(stochastic.soft_codes)


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (8, 5, CODE_DIM))


@pytest.fixture
def codebooks(key):
    return 0.6 * jax.random.normal(jax.random.fold_in(key, 2), (DEPTH, NUM_CODES, CODE_DIM))


def shares(residual, table, temperature):
    distance = ((residual[..., None, :] - table) ** 2).sum(-1)
    return scipy.special.softmax(-distance / temperature, axis=-1)


def test_frequencies_are_the_softmax_of_each_level(codebooks, key):
    latent, num_draws = np.array([0.3, -0.4, 0.2]), 8000
    rows = jnp.broadcast_to(jnp.asarray(latent, jnp.float32), (num_draws, CODE_DIM))
    codes, remainder = encode(key, rows, codebooks, 0.5)
    books = np.asarray(codebooks, np.float64)
    first = shares(latent, books[0], 0.5)
    expected = first[:, None] * shares(latent - books[0], books[1], 0.5)
    drawn = np.zeros((NUM_CODES, NUM_CODES))
    np.add.at(drawn, tuple(np.asarray(codes).T), 1 / num_draws)
    # Five standard deviations of a share.
    np.testing.assert_array_less(
        np.abs(drawn - expected), 5 * np.sqrt(expected / num_draws) + 1 / num_draws
    )
    np.testing.assert_allclose(rvq.decode(codes, codebooks) + remainder, rows, atol=1e-6)


def test_temperature_0_is_greedy_bit_for_bit(latents, codebooks, key):
    expected = jax.jit(rvq.encode)(latents, codebooks)
    found = encode(key, latents, codebooks, 0.0)
    jax.tree.map(np.testing.assert_array_equal, found, expected)
    warm, _ = encode(key, latents, codebooks, 1.0)
    assert (warm != expected[0]).any()


def test_draws_do_not_depend_on_chunks_or_neighbours(latents, codebooks, key):
    whole, _ = encode(key, latents, codebooks, 0.5)
    parts, _ = encode(key, latents, codebooks, 0.5, max_distances=3 * NUM_CODES)
    np.testing.assert_array_equal(parts, whole)
    row_keys = jax.random.split(key, (8, 5))
    codes, _ = encode_rows(row_keys, latents, codebooks, 0.5)
    turned, _ = encode_rows(row_keys[::-1], latents[::-1], codebooks, 0.5)
    np.testing.assert_array_equal(turned[::-1], codes)
    others, _ = encode_rows(row_keys, latents.at[1:].set(0.0), codebooks, 0.5)
    np.testing.assert_array_equal(others[0], codes[0])


def test_the_remainder_has_the_gradients_of_latents_less_what_was_drawn(latents, codebooks, key):
    codes, _ = encode(key, latents, codebooks, 0.5)

    def found(latents, codebooks):
        parts = encode_with(key, latents, codebooks, 0.5, max_distances=3 * NUM_CODES)
        return jnp.sum(parts[1] ** 2)

    def by_hand(latents, codebooks):
        return jnp.sum((latents - rvq.decode(codes, codebooks)) ** 2)

    pair = latents, codebooks
    gradients = (jax.jit(jax.grad(loss, (0, 1)))(*pair) for loss in (found, by_hand))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *gradients)


def test_soft_codes_are_the_shares_of_each_level_on_the_way(latents, codebooks, key):
    codes, _ = encode(key, latents, codebooks, 0.5)
    found = soft_codes(latents, codes, codebooks, 0.5)
    books = np.asarray(codebooks, np.float64)
    residual = np.asarray(latents, np.float64)
    for level in range(DEPTH):
        np.testing.assert_allclose(
            found[..., level, :], shares(residual, books[level], 0.5), atol=1e-5
        )
        residual = residual - books[level][np.asarray(codes)[..., level]]


def test_cold_soft_codes_are_the_greedy_ones(latents, codebooks):
    codes, _ = rvq.encode(latents, codebooks)
    found = soft_codes(latents, codes, codebooks, 1e-5)
    np.testing.assert_allclose(found, jax.nn.one_hot(codes, NUM_CODES), atol=1e-5)


def test_devices_draw_what_one_draws(latents, codebooks, key):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    found, _ = encode(key, jax.device_put(latents, rows), codebooks, 0.5)
    np.testing.assert_array_equal(found, encode(key, latents, codebooks, 0.5)[0])


def test_bad_temperatures_are_told(latents, codebooks, key):
    with pytest.raises(errors.UserError, match=r"temperature is -0.1; expected at least 0"):
        encode_with(key, latents, codebooks, -0.1)
    codes, _ = rvq.encode(latents, codebooks)
    with pytest.raises(errors.UserError, match=r"temperature is 0.0; expected at least 1e-06"):
        stochastic.soft_codes(latents, codes, codebooks, 0.0)
