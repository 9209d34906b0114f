"""Top-p against the definition, entry by entry."""

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


def test_tied_entries_share_their_fate():
    logits = jnp.array([0.0, 3.0, 3.0, 0.0])
    np.testing.assert_array_equal(filters.top_p(logits, 0.1), [-np.inf, 3, 3, -np.inf])


def test_the_sort_is_behind_a_condition():
    jaxpr = jax.make_jaxpr(filters.top_p)(jnp.zeros(4), 0.5)
    names = [equation.primitive.name for equation in jaxpr.jaxpr.eqns]
    assert "cond" in names
    assert "sort" not in names
