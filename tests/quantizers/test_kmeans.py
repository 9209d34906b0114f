"""Codebooks started by k-means, apart and shared."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.quantizers import codebook_averages, kmeans, rvq

run_kmeans = jax.jit(kmeans.kmeans, static_argnums=2, static_argnames="num_iterations")
run_start = jax.jit(kmeans.start, static_argnums=(2, 3))
encode = jax.jit(rvq.encode)


@pytest.fixture
def latents(key):
    return jax.random.normal(key, (16, 20, 4))


def mean_error(latents, codebooks):
    return float(jnp.mean(encode(latents, codebooks)[1] ** 2))


def test_one_iteration_is_lloyds(key):
    vectors = jax.random.normal(key, (50, 3))
    everything = jnp.ones(50, bool)
    before, _ = run_kmeans(key, vectors, 6, everything, num_iterations=0)
    after, counts = run_kmeans(key, vectors, 6, everything, num_iterations=1)

    def assign(centres):
        return ((np.asarray(vectors)[:, None] - np.asarray(centres)) ** 2).sum(-1).argmin(1)

    expected = [np.asarray(vectors)[assign(before) == code].mean(0) for code in range(6)]
    np.testing.assert_allclose(after, np.stack(expected), atol=1e-5)
    np.testing.assert_array_equal(counts, np.bincount(assign(after), minlength=6))


def test_iterations_lower_the_error_and_padding_has_no_part(key):
    vectors = jax.random.normal(key, (200, 3))
    everything = jnp.ones(200, bool)

    def error(num_iterations):
        centres, _ = run_kmeans(key, vectors, 8, everything, num_iterations=num_iterations)
        return mean_error(vectors, centres[None])

    few, more, most = error(0), error(2), error(10)
    assert most <= more < few
    padded = jnp.concatenate([vectors, jnp.full((56, 3), 1e4)])
    is_valid = jnp.arange(256) < 200
    alone = run_kmeans(key, vectors, 8, everything, num_iterations=10)
    beside = run_kmeans(key, padded, 8, is_valid, num_iterations=10)
    for ours, theirs in zip(beside, alone, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_each_level_starts_from_what_the_last_ones_left(latents, key):
    stats = run_start(key, latents, 3, 16)
    books = codebook_averages.codebooks_from(stats, smoothing=0.0)
    codes, _ = encode(latents, books)
    # Counts and sums agree with each other and with the codes of the data.
    batch = codebook_averages.statistics(latents, codes, books)
    np.testing.assert_allclose(stats.counts, jnp.maximum(batch.counts, 1.0))
    shallow = run_start(key, latents, 2, 16)
    np.testing.assert_allclose(stats.sums[:2], shallow.sums, atol=1e-4)
    errors_by_depth = [mean_error(latents, books[: level + 1]) for level in range(3)]
    assert errors_by_depth == sorted(errors_by_depth, reverse=True)
    assert errors_by_depth[-1] < 0.2 * float(jnp.mean(latents**2))


def test_fewer_vectors_than_codes_are_all_kept(key):
    latents = jax.random.normal(key, (5, 4))
    stats = run_start(key, latents, 2, 16)
    books = codebook_averages.codebooks_from(stats, smoothing=0.0)
    assert jnp.isfinite(books).all()
    assert mean_error(latents, books) < 1e-10


def test_a_shared_start_serves_all_levels(latents, key):
    start = jax.jit(kmeans.start_shared, static_argnums=(2, 3))
    stats = start(key, latents, 3, 16)
    assert stats.counts.shape == (1, 16)
    table = codebook_averages.codebooks_from(stats, smoothing=0.0)[0]
    first_level_only = codebook_averages.codebooks_from(run_start(key, latents, 1, 16), 0.0)[0]
    error = mean_error(latents, rvq.share(table, 3))
    assert error < mean_error(latents, rvq.share(first_level_only, 3))
    # The counts are those of all levels' codes.
    assert float(stats.counts.sum()) >= 3 * 16 * 20


def test_devices_start_from_the_same_centres(latents, key):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    expected = run_start(key, latents, 2, 16)
    found = run_start(key, jax.device_put(latents, rows), 2, 16)
    np.testing.assert_allclose(found.counts, expected.counts)
    np.testing.assert_allclose(found.sums, expected.sums, atol=1e-4)
