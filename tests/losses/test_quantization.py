"""Which side each quantization loss moves, its value by NumPy, and its limits."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

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


def entropies(logits, is_valid):
    """Mean entropy of the valid rows and that of their mean, in float64."""
    shares = scipy.special.softmax(np.asarray(logits, np.float64)[np.asarray(is_valid)], axis=-1)
    return scipy.special.entr(shares).sum(-1).mean(), scipy.special.entr(shares.mean(0)).sum()


def test_entropy_and_diversity_by_numpy(key):
    logits = 3.0 * jax.random.normal(key, (4, 5, 7))
    is_valid = jax.random.bernoulli(key, 0.6, (4, 5))
    of_vectors, of_batch = entropies(logits, is_valid)
    found = jax.jit(quantization.entropy_loss)(logits, 0.5, is_valid)
    assert float(found) == pytest.approx(of_vectors - 0.5 * of_batch, rel=1e-5)
    found = quantization.diversity_loss(logits, is_valid)
    assert float(found) == pytest.approx(-of_batch, rel=1e-5)


def test_entropy_is_lowest_where_codes_are_sure_and_all_used():
    sure = 1e4 * jnp.eye(6)
    loss, gradient = jax.value_and_grad(quantization.entropy_loss)(sure)
    assert float(loss) == pytest.approx(-np.log(6), rel=1e-5)
    assert jnp.isfinite(gradient).all()
    assert float(quantization.diversity_loss(sure)) == pytest.approx(-np.log(6), rel=1e-5)
    # All on one code: as sure, and nothing shared out.
    same = jnp.broadcast_to(sure[:1], sure.shape)
    assert float(quantization.entropy_loss(same)) == pytest.approx(0.0, abs=1e-6)
    gradient = jax.grad(quantization.diversity_loss)(same)
    assert jnp.isfinite(gradient).all()


def test_orthogonal_loss_is_the_mean_square_cosine(key):
    codebook = jax.random.normal(key, (9, 4)) * jnp.arange(1.0, 10.0)[:, None]
    units = np.asarray(codebook) / np.linalg.norm(codebook, axis=-1, keepdims=True)
    loss = jax.jit(quantization.orthogonal_loss)
    expected = ((units @ units.T) ** 2).sum() / 81 - 1 / 9
    assert float(loss(codebook)) == pytest.approx(expected, rel=1e-4)
    is_active = jnp.arange(9) % 2 == 0
    kept = units[::2]
    expected = ((kept @ kept.T) ** 2).sum() / 25 - 1 / 5
    assert float(loss(codebook, is_active)) == pytest.approx(expected, rel=1e-4)
    gradient = jax.grad(quantization.orthogonal_loss)(codebook, is_active)
    assert (gradient[1::2] == 0).all()
    assert jnp.abs(gradient[::2]).min(-1).max() > 0
    assert float(loss(3.0 * jnp.eye(4))) == pytest.approx(0.0, abs=1e-6)
