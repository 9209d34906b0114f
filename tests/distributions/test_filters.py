"""Top-p and top-k against the definition, entry by entry."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from resgen_jax.distributions import filters


def brute_force(logits, p):
    """Add entries from the likeliest on until their probabilities reach p."""
    kept = np.full_like(logits, -np.inf)
    probability = scipy.special.softmax(logits.astype(np.float64))
    total = 0.0
    for index in np.argsort(-logits):
        kept[index] = logits[index]
        total += probability[index]
        if total >= p:
            break
    return kept


@pytest.mark.parametrize("p", [0.0, 0.05, 0.3, 0.6, 0.95, 0.999])
def test_top_p_equals_the_brute_force(p):
    logits = np.random.default_rng(0).normal(size=(4, 3, 17)).astype(np.float32) * 2
    result = jax.jit(filters.top_p)(jnp.asarray(logits), p)
    expected = np.apply_along_axis(brute_force, -1, logits, p)
    np.testing.assert_array_equal(result, expected)


@pytest.mark.parametrize("p", [1.0, 2.0])
def test_top_p_of_one_keeps_everything(p):
    logits = jnp.asarray(np.random.default_rng(1).normal(size=(2, 1000)) * 20, jnp.float32)
    np.testing.assert_array_equal(filters.top_p(logits, p), logits)


@pytest.mark.parametrize("k", [0, 1, 5, 17, 30])
def test_top_k_keeps_the_k_likeliest(k):
    logits = np.random.default_rng(2).normal(size=(4, 3, 17)).astype(np.float32)
    result = jax.jit(filters.top_k)(jnp.asarray(logits), k)
    rank = np.argsort(np.argsort(-logits, axis=-1), axis=-1)
    np.testing.assert_array_equal(result, np.where((rank < k) | (k == 0), logits, -np.inf))


def test_what_is_kept_is_tempered_then_filtered_by_both():
    logits = jnp.array([0.0, 1.0, 2.0, 3.0])
    np.testing.assert_allclose(
        filters.keep(logits, 2.0, 3, 1.0), [-np.inf, 0.5, 1.0, 1.5], rtol=1e-6
    )
    # Of the three that top-k keeps, softmax (0.19, 0.31, 0.51): two reach 0.6.
    np.testing.assert_allclose(
        filters.keep(logits, 2.0, 3, 0.6), [-np.inf, -np.inf, 1.0, 1.5], rtol=1e-6
    )
    # Of all four (0.10, 0.17, 0.28, 0.46) it would take three to reach 0.81.
    np.testing.assert_allclose(
        filters.keep(logits, 2.0, 3, 0.81), [-np.inf, -np.inf, 1.0, 1.5], rtol=1e-6
    )


def test_tied_entries_share_their_fate():
    logits = jnp.array([0.0, 3.0, 3.0, 0.0])
    np.testing.assert_array_equal(filters.top_k(logits, 1), [-np.inf, 3, 3, -np.inf])
    np.testing.assert_array_equal(filters.top_p(logits, 0.1), [-np.inf, 3, 3, -np.inf])


@pytest.mark.parametrize(("function", "value"), [(filters.top_p, 0.5), (filters.top_k, 2)])
def test_the_sort_is_behind_a_condition(function, value):
    jaxpr = jax.make_jaxpr(function)(jnp.zeros(4), value)
    names = [equation.primitive.name for equation in jaxpr.jaxpr.eqns]
    assert "cond" in names
    assert "sort" not in names
