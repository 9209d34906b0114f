"""Probabilistic RVQ against dense NumPy, and the gradient laws of its loss."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from resgen_jax.quantizers import codebook_averages, probabilistic_rvq, rvq

DEPTH, NUM_CODES, CODE_DIM = 3, 6, 4

encode = jax.jit(rvq.encode)
update = jax.jit(probabilistic_rvq.update, static_argnames=("decay", "max_distances"))


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (16, 3, CODE_DIM))


@pytest.fixture
def state(key):
    return probabilistic_rvq.ProbabilisticState(
        codebooks=codebook_averages.random_codebooks(key, DEPTH, NUM_CODES, CODE_DIM),
        variances=jnp.array([0.5, 0.3, 0.2]),
    )


@pytest.fixture
def codes(latents, state):
    return encode(latents, state.codebooks)[0]


def squared_distance(rows, table):
    return ((rows[:, None] - table[None]) ** 2).sum(-1)


def em_step(state, latents, codes, is_valid, decay):
    """Steps 1 to 5 of the moving-average update with all arrays dense, in float64."""
    rows = np.asarray(latents, np.float64).reshape(-1, CODE_DIM)
    row_codes = np.asarray(codes).reshape(-1, DEPTH)
    kept = np.asarray(is_valid).reshape(-1)
    books, variances = [], []
    for level, table in enumerate(np.asarray(state.codebooks, np.float64)):
        left = rows - table[row_codes[:, level]]
        variance = (left[kept] ** 2).mean()
        constant = CODE_DIM * np.log(2 * np.pi * variance)
        log_p = -0.5 * (constant + squared_distance(rows[kept], table) / variance)
        share = scipy.special.softmax(scipy.special.log_softmax(log_p, axis=1), axis=0)
        books.append(decay * table + (1 - decay) * share.T @ rows[kept])
        variances.append(variance)
        rows = left
    old = np.asarray(state.variances)
    return np.stack(books), decay * old + (1 - decay) * np.stack(variances)


@pytest.mark.parametrize("max_distances", [7 * NUM_CODES, 2**20])
def test_one_step_is_the_dense_em_step(state, latents, codes, key, max_distances):
    is_valid = jax.random.bernoulli(key, 0.6, latents.shape[:2])
    found = update(state, latents, codes, is_valid, decay=0.7, max_distances=max_distances)
    books, variances = em_step(state, latents, codes, is_valid, 0.7)
    np.testing.assert_allclose(found.codebooks, books, atol=1e-5)
    np.testing.assert_allclose(found.variances, variances, rtol=1e-5)


def test_variances_are_what_each_level_leaves(state, latents, codes):
    everything = np.ones(latents.shape[:2], bool)
    _, expected = em_step(state, latents, codes, everything, 0.0)
    found = jax.jit(probabilistic_rvq.variances_left)(latents, codes, state.codebooks)
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_code_nobody_chose_comes_nearer(state, latents):
    far = state.codebooks.at[0, 3].set(20.0)
    state = state.replace(codebooks=far)
    codes, _ = encode(latents, far)
    assert not (codes[..., 0] == 3).any()
    moved = update(state, latents, codes, decay=0.9).codebooks[0, 3]
    assert jnp.linalg.norm(moved) < 0.95 * jnp.linalg.norm(far[0, 3])


def test_nothing_valid_changes_no_code(state, latents, codes):
    nothing = jnp.zeros(latents.shape[:2], bool)
    found = update(state, latents, codes, nothing, decay=0.5)
    np.testing.assert_allclose(found.codebooks, state.codebooks, rtol=1e-6)


def test_devices_make_the_step_of_one(state, latents, codes):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    expected = update(state, latents, codes, max_distances=16 * NUM_CODES)
    batch = jax.device_put((latents, codes), rows)
    found = update(state, *batch, max_distances=16 * NUM_CODES)
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-6), found, expected)


def paper_loss(latents, codes, books, variances):
    """E_q[-log p] with each level's target free of all other levels' vectors."""
    z, books = np.asarray(latents, np.float64).reshape(-1, CODE_DIM), np.asarray(books, np.float64)
    row_codes = np.asarray(codes).reshape(-1, DEPTH)
    chosen = np.stack([books[level][row_codes[:, level]] for level in range(DEPTH)])
    losses = []
    for level, variance in enumerate(np.asarray(variances, np.float64)):
        target = z - (chosen.sum(0) - chosen[level])
        distance = squared_distance(target, books[level])
        share = scipy.special.softmax(-distance / (2 * variance), axis=1)
        log_p = -0.5 * (CODE_DIM * np.log(2 * np.pi * variance) + distance / variance)
        losses.append(-(share * log_p).sum(1))
    return np.stack(losses, -1).reshape(*latents.shape[:-1], DEPTH)


@pytest.mark.parametrize("max_distances", [7 * NUM_CODES, 2**20])
def test_codebook_loss_is_the_papers(state, latents, codes, max_distances):
    loss = functools.partial(probabilistic_rvq.codebook_loss, max_distances=max_distances)
    found = jax.jit(loss)(latents, codes, state.codebooks, state.variances)
    expected = paper_loss(latents, codes, state.codebooks, state.variances)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_each_codebook_is_moved_by_its_own_level_alone(state, latents, codes):
    def total(books, latents, level):
        losses = probabilistic_rvq.codebook_loss(latents, codes, books, state.variances)
        return jnp.sum(losses[..., level])

    to_books, to_latents = jax.jit(jax.grad(total, (0, 1)))(state.codebooks, latents, 1)
    assert (to_latents == 0).all()
    assert (to_books[0] == 0).all()
    assert (to_books[2] == 0).all()
    # d/de E_q |x - e|^2 / (2 var) with q held fixed: every code moves, by its responsibility.
    target = np.asarray(
        probabilistic_rvq.own_targets(latents, codes, state.codebooks)[..., 1, :]
    ).reshape(-1, CODE_DIM)
    table, variance = np.asarray(state.codebooks[1]), float(state.variances[1])
    share = scipy.special.softmax(-squared_distance(target, table) / (2 * variance), axis=1)
    pull = (share[..., None] * (table[None] - target[:, None])).sum(0) / variance
    np.testing.assert_allclose(to_books[1], pull, atol=1e-4)
    assert (jnp.abs(to_books[1]).max(-1) > 0).all()
