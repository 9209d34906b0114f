"""Nearest code, its vector, sums by code, usage and perplexity against NumPy."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.quantizers import codebook

NUM_ROWS, NUM_CODES, CODE_DIM = 60, 32, 3


@pytest.fixture
def vectors(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (NUM_ROWS, CODE_DIM))


@pytest.fixture
def table(key):
    return jax.random.normal(jax.random.fold_in(key, 2), (NUM_CODES, CODE_DIM))


def brute_force(vectors, table):
    x, e = np.asarray(vectors, np.float64), np.asarray(table, np.float64)
    return ((x[:, None] - e[None]) ** 2).sum(-1).argmin(1)


@pytest.mark.parametrize("max_distances", [1, 100, 7 * NUM_CODES, 20 * NUM_CODES, 2**20])
def test_nearest_code_is_the_brute_force_argmin(vectors, table, max_distances):
    codes = codebook.nearest_code(vectors, table, max_distances=max_distances)
    np.testing.assert_array_equal(codes, brute_force(vectors, table))


def test_a_tie_goes_to_the_lowest_code(vectors, table):
    twice = jnp.concatenate([table, table])
    np.testing.assert_array_equal(
        codebook.nearest_code(vectors, twice), brute_force(vectors, table)
    )


def test_codes_of_bad_numbers_stay_in_range(table):
    codes = codebook.nearest_code(jnp.full((2, CODE_DIM), jnp.nan), table)
    assert ((codes >= 0) & (codes < NUM_CODES)).all()


def all_shapes(jaxpr):
    for equation in jaxpr.eqns:
        for value in equation.outvars:
            yield value.aval.shape
        for inner in jax.tree.leaves(
            list(equation.params.values()), is_leaf=lambda x: hasattr(x, "jaxpr")
        ):
            if hasattr(inner, "jaxpr"):
                yield from all_shapes(inner.jaxpr)


def test_no_more_than_max_distances_exist_at_a_time(vectors, table):
    limit = 8 * NUM_CODES

    def largest(max_distances):
        jaxpr = jax.make_jaxpr(
            lambda x, e: codebook.nearest_code(x, e, max_distances=max_distances)
        )(vectors, table)
        return max(int(np.prod(s)) for s in all_shapes(jaxpr.jaxpr) if NUM_CODES in s)

    assert largest(limit) <= limit
    assert largest(2**20) == NUM_ROWS * NUM_CODES  # the walk does see the distances


def test_sums_by_code_are_those_of_a_loop(vectors, key):
    codes = jax.random.randint(key, (NUM_ROWS,), 0, NUM_CODES)
    weights = jax.random.uniform(key, (NUM_ROWS,))
    expected = np.zeros(NUM_CODES), np.zeros((NUM_CODES, CODE_DIM))
    np.add.at(expected[0], np.asarray(codes), np.asarray(weights))
    np.add.at(expected[1], np.asarray(codes), np.asarray(weights[:, None] * vectors))
    for limit in (100, 2**20):
        found = codebook.sum_by_code(vectors, codes, weights, NUM_CODES, max_distances=limit)
        for ours, theirs in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_counts_leave_padding_out(key):
    codes = jax.random.randint(key, (4, 5, 2), 0, 7)
    is_valid = jax.random.bernoulli(key, 0.5, (4, 5))
    counts = codebook.count_codes(codes, 7, is_valid)
    kept = np.asarray(codes)[np.asarray(is_valid)]
    expected = [np.bincount(kept[:, level], minlength=7) for level in range(2)]
    np.testing.assert_array_equal(counts, np.stack(expected))


def test_usage_and_perplexity_by_hand():
    counts = jnp.array([[5.0, 5.0, 5.0, 5.0], [8.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0]])
    np.testing.assert_allclose(codebook.usage(counts), [1.0, 0.25, 0.5])
    np.testing.assert_allclose(codebook.perplexity(counts), [4.0, 1.0, 2.0], rtol=1e-6)


def test_bad_arguments_are_told(vectors, table, monkeypatch):
    with pytest.raises(errors.UserError, match="max_distances is 0"):
        codebook.nearest_code(vectors, table, max_distances=0)
    # Without the type checks of the tests, as a user runs it.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(errors.UserError, match="3 channels and the codebook 2"):
        codebook.nearest_code(vectors, table[:, :2])
