"""SoftVQ's entropy loss and figures against NumPy: a guesser, one code for all, all alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import soft_vq_references as references

from resgen_jax.quantizers import soft_vq

GROUPS, NUM_CODES, CODE_DIM = 2, 5, 3

quantize = jax.jit(soft_vq.quantize)
train = jax.jit(soft_vq.quantize_for_training, static_argnames="max_distances")


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (2, 4, CODE_DIM))


@pytest.fixture
def codebooks(key):
    return jax.random.normal(jax.random.fold_in(key, 2), (GROUPS, NUM_CODES, CODE_DIM))


def test_padding_of_chunks_is_not_counted(key, codebooks):
    latents = jax.random.normal(key, (1, 14, CODE_DIM))  # 7 rows: chunks of 2, one row padded
    whole = train(latents, codebooks)
    parts = train(latents, codebooks, max_distances=2 * GROUPS * NUM_CODES)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), parts, whole)
    np.testing.assert_allclose(parts.code_counts.sum(-1), 7)


def test_training_finds_what_quantize_does_with_its_figures(latents, codebooks):
    found = train(latents, codebooks)
    np.testing.assert_allclose(found.quantized, quantize(latents, codebooks), atol=1e-6)
    similarity = np.einsum("blc,blc->bl", references.unit(latents), references.unit(found[0]))
    np.testing.assert_allclose(found.similarity, similarity, atol=1e-5)
    for group in range(GROUPS):
        part = slice(2 * group, 2 * group + 2)
        score = references.unit(latents[:, part]) @ references.unit(codebooks[group]).T
        shares = scipy.special.softmax(score / 0.07, axis=-1)
        np.testing.assert_array_equal(found.codes[:, part], score.argmax(-1))
        np.testing.assert_allclose(found.confidence[:, part], shares.max(-1), atol=1e-5)
        np.testing.assert_allclose(found.mean_shares[group], shares.mean((0, 1)), atol=1e-5)
        counts = np.bincount(score.argmax(-1).reshape(-1), minlength=NUM_CODES)
        np.testing.assert_array_equal(found.code_counts[group], counts)
        used = counts[counts > 0] / counts.sum()
        assert found.usage[group] == pytest.approx((counts > 0).mean())
        assert found.perplexity[group] == pytest.approx(np.exp(-np.sum(used * np.log(used))))


def entropy_loss(latents, codebooks, temperature=0.2):
    """All codebooks' tokens in one average, in float64."""
    latents, codebooks = references.as_float64(latents), references.unit(codebooks)
    parts = np.split(references.unit(latents), len(codebooks), axis=1)
    score = np.concatenate([part @ table.T for part, table in zip(parts, codebooks, strict=True)])
    shares = scipy.special.softmax(score / temperature, axis=-1).reshape(-1, codebooks.shape[1])
    mean = shares.mean(0)
    return scipy.special.entr(shares).sum(-1).mean() + np.sum(mean * np.log(mean + 1e-6))


def test_entropy_loss_by_numpy_has_its_own_temperature(latents, codebooks):
    expected = entropy_loss(latents, codebooks)
    for temperature in (0.05, 0.5):
        found = train(latents, codebooks, temperature, 0.2).entropy_loss
        assert float(found) == pytest.approx(expected, abs=1e-5)
    published = entropy_loss(latents, codebooks, 0.01)
    assert float(train(latents, codebooks).entropy_loss) == pytest.approx(published, abs=1e-5)


def test_entropy_loss_moves_the_latents_alone(latents, codebooks):
    def loss(latents, codebooks):
        return train(latents, codebooks, 0.07, 0.2).entropy_loss

    to_latents, to_books = jax.grad(loss, (0, 1))(latents, codebooks)
    expected = references.slopes(lambda x: entropy_loss(x, codebooks), latents)
    np.testing.assert_allclose(to_latents, expected, rtol=1e-3, atol=1e-4)
    assert (to_books == 0).all()


def test_the_figures_have_no_gradient(latents, codebooks):
    def total(latents, codebooks):
        found = train(latents, codebooks)
        names = ("confidence", "similarity", "code_counts", "mean_shares", "usage", "perplexity")
        return sum(jnp.sum(getattr(found, name)) for name in names)

    gradients = jax.grad(total, (0, 1))(latents, codebooks)
    assert all((gradient == 0).all() for gradient in gradients)


# One token for each of 6 orthogonal codes, or the same one 6 times.
BASIS = np.eye(6, dtype=np.float32)[None]
CASES = {"perfect": BASIS, "constant": BASIS[:, [2] * 6]}


def test_balanced_and_sure_has_the_lowest_loss_and_full_use():
    found = train(CASES["perfect"], BASIS)
    assert float(found.entropy_loss) == pytest.approx(-np.log(6), abs=1e-5)
    assert float(found.usage[0]) == 1.0
    assert float(found.perplexity[0]) == pytest.approx(6.0, rel=1e-5)
    assert jnp.isfinite(jax.grad(lambda x: train(x, BASIS).entropy_loss)(BASIS)).all()


def test_one_code_for_all_has_no_entropy_and_the_least_use():
    found = train(CASES["constant"], BASIS)
    assert float(found.entropy_loss) == pytest.approx(0.0, abs=2e-6)
    assert float(found.usage[0]) == pytest.approx(1 / 6)
    assert float(found.perplexity[0]) == pytest.approx(1.0, rel=1e-5)


def test_tokens_that_cannot_tell_codes_apart_have_no_entropy_loss():
    # As unsure each as all of them together: both entropies are log v.
    latents = jnp.ones((2, 3, 6))
    found = train(latents, BASIS)
    assert float(found.entropy_loss) == pytest.approx(0.0, abs=1e-5)
    np.testing.assert_allclose(found.mean_shares, np.full((1, 6), 1 / 6), rtol=1e-5)
    np.testing.assert_allclose(found.confidence, np.full((2, 3), 1 / 6), rtol=1e-5)


def test_the_mean_shares_have_the_published_epsilon_in_their_logarithm():
    # 500 codes that are the same: each token's entropy is log 500, that of the mean less.
    codebooks = jnp.ones((1, 500, 2))
    found = train(jnp.ones((1, 3, 2)), codebooks)
    assert float(found.entropy_loss) == pytest.approx(np.log1p(500e-6), abs=2e-5)


def test_a_guesser_uses_all_codes_about_alike(key):
    latents = jax.random.normal(key, (4, 300, 6))
    found = train(latents, BASIS)
    counts = np.bincount(np.asarray(latents).argmax(-1).reshape(-1), minlength=6)
    np.testing.assert_array_equal(found.code_counts[0], counts)
    assert float(found.usage[0]) == 1.0
    assert 5.9 < float(found.perplexity[0]) <= 6.0


def test_codebooks_share_the_average_of_the_entropy_loss_and_not_their_figures():
    # Two segments, each sure of one code: 0 of one codebook and 1 of the other.
    latents = jnp.concatenate([BASIS[:, [0] * 3], BASIS[:, [1] * 3]], axis=1)
    found = train(latents, jnp.concatenate([BASIS, BASIS]))
    assert float(found.entropy_loss) == pytest.approx(-np.log(2), abs=1e-5)
    np.testing.assert_allclose(found.perplexity, [1.0, 1.0], rtol=1e-5)


def test_devices_average_over_the_whole_batch(key, codebooks):
    latents = jax.random.normal(key, (8, 4, CODE_DIM))
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    found = train(jax.device_put(latents, rows), codebooks)
    expected = train(latents, codebooks)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), found, expected)
    by_device = np.mean([entropy_loss(latents[i : i + 1], codebooks, 0.01) for i in range(8)])
    assert float(found.entropy_loss) < by_device - 0.1
