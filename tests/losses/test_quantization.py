"""Which side each quantization loss moves, and its value by NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.losses import quantization
from resgen_jax.quantizers import rvq


@pytest.fixture
def pair(key):
    return tuple(jax.random.normal(jax.random.fold_in(key, n), (2, 5, 3)) for n in range(2))


@pytest.mark.parametrize("loss", [quantization.commitment_loss, quantization.codebook_loss])
def test_value_is_the_mean_square_of_each_vector(loss, pair):
    latents, quantized = pair
    expected = ((np.asarray(latents) - np.asarray(quantized)) ** 2).mean(-1)
    np.testing.assert_allclose(loss(latents, quantized), expected, rtol=1e-5)


@pytest.mark.parametrize(
    ("loss", "moved"), [(quantization.commitment_loss, 0), (quantization.codebook_loss, 1)]
)
def test_one_side_moves_and_the_other_is_held(loss, moved, pair):
    gradients = jax.grad(lambda *pair: jnp.sum(loss(*pair)), (0, 1))(*pair)
    towards = 2.0 * (pair[moved] - pair[1 - moved]) / 3
    np.testing.assert_allclose(gradients[moved], towards, rtol=1e-5, atol=1e-7)
    assert (gradients[1 - moved] == 0).all()


def test_through_rvq_commitment_moves_the_encoder_and_codebook_loss_the_codebook(pair, key):
    books = jax.random.normal(key, (2, 6, 3))

    def total(loss, latents, books):
        codes, _ = rvq.encode(latents, books)
        return jnp.sum(loss(latents, rvq.decode(codes, books)))

    gradient = jax.jit(jax.grad(total, (1, 2)), static_argnums=0)
    to_latents, to_books = gradient(quantization.commitment_loss, pair[0], books)
    assert jnp.abs(to_latents).max() > 0
    assert (to_books == 0).all()
    to_latents, to_books = gradient(quantization.codebook_loss, pair[0], books)
    assert (to_latents == 0).all()
    assert jnp.abs(to_books).max() > 0


def test_every_prefix_pulls(pair, key):
    latents = pair[0]
    books = jax.random.normal(key, (4, 6, 3))
    codes, _ = jax.jit(rvq.encode)(latents, books)
    sums = jax.jit(rvq.partial_sums)(codes, books)
    expected = sum(quantization.commitment_loss(latents, sums[..., level, :]) for level in range(4))
    np.testing.assert_allclose(
        quantization.prefix_commitment_loss(latents, sums), expected, rtol=1e-5
    )
    one = quantization.prefix_commitment_loss(latents, sums[..., :1, :])
    np.testing.assert_allclose(one, quantization.commitment_loss(latents, sums[..., 0, :]))
    to_sums = jax.grad(lambda s: jnp.sum(quantization.prefix_commitment_loss(latents, s)))(sums)
    assert (to_sums == 0).all()
