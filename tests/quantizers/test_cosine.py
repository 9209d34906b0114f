"""Codes by direction against NumPy, and the laws of codebooks on the sphere."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.quantizers import cosine, rvq

DEPTH, NUM_CODES, CODE_DIM = 2, 6, 3

update = jax.jit(cosine.update, static_argnames=("decay", "max_distances"))


@pytest.fixture
def latents(key):
    """Vectors of all lengths."""
    vectors = jax.random.normal(jax.random.fold_in(key, 1), (12, 5, CODE_DIM))
    return vectors * jnp.exp(jax.random.normal(key, (12, 5, 1)))


@pytest.fixture
def state(key):
    return cosine.random_state(key, DEPTH, NUM_CODES, CODE_DIM)


def unit(vectors):
    vectors = np.asarray(vectors, np.float64)
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def test_codes_have_the_largest_cosine_whatever_the_lengths(latents, key):
    table = jax.random.normal(key, (NUM_CODES, CODE_DIM)) * jnp.arange(1.0, 7.0)[:, None]
    codes, remainder = jax.jit(cosine.encode)(latents, table)
    np.testing.assert_array_equal(codes, (unit(latents) @ unit(table).T).argmax(-1))
    decoded = cosine.decode(codes, table)
    np.testing.assert_allclose(decoded, unit(table)[np.asarray(codes)], atol=1e-6)
    np.testing.assert_allclose(decoded + remainder, unit(latents), atol=1e-6)


def test_normalise_has_a_finite_gradient_at_zero():
    gradient = jax.grad(lambda x: jnp.sum(cosine.normalise(x)))(jnp.zeros((2, CODE_DIM)))
    assert jnp.isfinite(gradient).all()


def test_plain_rvq_of_its_codebooks_chooses_by_cosine_and_codes_share_a_length(latents, state):
    state = state.replace(sums=state.sums * jnp.arange(1.0, 7.0)[None, :, None])
    books = cosine.codebooks_from(state)
    lengths = np.linalg.norm(books, axis=-1)
    np.testing.assert_allclose(lengths, np.tile([[1.0], [0.5]], NUM_CODES), rtol=1e-5)
    codes, _ = rvq.encode(latents, books)
    residual = np.asarray(latents, np.float64)
    for level in range(DEPTH):
        expected = (residual @ unit(books[level]).T).argmax(-1)
        np.testing.assert_array_equal(codes[..., level], expected)
        residual = residual - np.asarray(books)[level][expected]


def test_with_decay_0_a_code_is_the_mean_direction_of_its_members(latents, state, key):
    is_valid = jax.random.bernoulli(key, 0.8, latents.shape[:2])
    kept = np.asarray(is_valid).reshape(-1)
    books = cosine.codebooks_from(state)
    codes, _ = rvq.encode(latents, books)
    found = update(state, latents, codes, is_valid, decay=0.0, max_distances=7 * NUM_CODES)
    rows, row_codes = np.asarray(latents).reshape(-1, CODE_DIM), np.asarray(codes).reshape(-1, 2)
    for level in range(DEPTH):
        table = np.asarray(cosine.codebooks_from(found)[level])
        chosen = np.asarray(books)[level][row_codes[:, level]]
        length = np.sum(rows * unit(chosen), -1)[kept].mean()
        assert found.lengths[level] == pytest.approx(length, rel=1e-4)
        for code in range(NUM_CODES):
            members = rows[kept & (row_codes[:, level] == code)]
            assert found.counts[level, code] == len(members)
            if len(members):
                expected = unit(unit(members).sum(0)) * length
                np.testing.assert_allclose(table[code], expected, atol=1e-4)
        rows = rows - chosen


def test_nothing_valid_keeps_the_lengths(latents, state):
    codes, _ = rvq.encode(latents, cosine.codebooks_from(state))
    nothing = jnp.zeros(latents.shape[:2], bool)
    found = update(state, latents, codes, nothing, decay=0.5)
    np.testing.assert_allclose(found.lengths, state.lengths, rtol=1e-6)
    np.testing.assert_allclose(
        cosine.codebooks_from(found), cosine.codebooks_from(state), rtol=1e-5
    )


def test_start_finds_directions_whatever_the_lengths(key):
    directions = unit(np.random.default_rng(3).normal(size=(NUM_CODES, CODE_DIM)))
    which = np.arange(240) % NUM_CODES
    lengths = np.exp(np.random.default_rng(4).normal(size=(240, 1)))
    rows = jnp.asarray(directions[which] * lengths, jnp.float32)
    start = functools.partial(cosine.start, depth=1, codebook_size=4 * NUM_CODES)
    state = jax.jit(start)(key, rows)
    similarity = directions @ np.asarray(cosine.normalise(state.sums[0])).T
    assert (similarity.max(1) > 0.999).all()
    # Without noise every centre is one of the directions.
    assert (similarity.max(0) > 0.99).all()
    assert state.lengths[0] == pytest.approx(lengths.mean(), rel=1e-3)


def test_a_restarted_code_takes_the_candidates_direction(state):
    counts = state.counts.at[1, 2].set(0.0)
    candidates = jnp.full((DEPTH, NUM_CODES, CODE_DIM), 7.0)
    found = cosine.restart(state.replace(counts=counts), candidates, threshold=0.1)
    np.testing.assert_allclose(found.sums[1, 2] / found.counts[1, 2], [3**-0.5] * 3, rtol=1e-5)
    np.testing.assert_array_equal(found.sums[0], state.sums[0])
