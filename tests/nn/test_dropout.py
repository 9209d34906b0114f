"""Laws of dropout."""

import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.nn import dropout


def test_nothing_happens_without_a_key_or_a_rate(key):
    values = jax.random.normal(key, (4, 5))
    assert dropout.dropout(None, values, 0.5) is values
    assert dropout.dropout(key, values, 0.0) is values


def test_a_share_is_zero_and_the_rest_keeps_the_mean(key):
    dropped = np.asarray(dropout.dropout(key, jnp.full((200, 200), 3.0), 0.25))
    np.testing.assert_allclose(np.unique(dropped), [0, 4], rtol=1e-6)
    np.testing.assert_allclose(np.mean(dropped == 0), 0.25, atol=0.02)
    np.testing.assert_allclose(np.mean(dropped), 3, atol=0.05)


def test_the_key_decides(key):
    values = jnp.ones((10, 10))
    first = dropout.dropout(key, values, 0.5)
    np.testing.assert_array_equal(dropout.dropout(key, values, 0.5), first)
    assert np.any(dropout.dropout(jax.random.fold_in(key, 1), values, 0.5) != first)


def test_neighbours_that_share_random_words_are_dropped_independently(key):
    for width in (64, 63):
        is_zero = np.asarray(dropout.dropout(key, jnp.ones((4000, width)), 0.5)) == 0
        correlation = np.corrcoef(is_zero.T) - np.eye(width)
        assert np.max(np.abs(correlation)) < 0.1


def test_a_rate_too_small_for_a_byte_still_drops_the_least_share(key):
    dropped = np.asarray(dropout.dropout(key, jnp.ones((500, 400)), 1e-4))
    np.testing.assert_allclose(np.mean(dropped == 0), 1 / 256, rtol=0.2)
    np.testing.assert_allclose(np.mean(dropped), 1, atol=1e-3)


def test_rows_with_keys_of_their_own_do_not_depend_on_each_other(key):
    keys, values = jax.random.split(key, 6), jnp.ones((6, 10, 3))
    dropped = dropout.of_rows(keys, values, 0.5)
    np.testing.assert_array_equal(dropout.of_rows(keys[3:], values[3:], 0.5), dropped[3:])
    assert len(np.unique(np.asarray(dropped).reshape(6, -1), axis=0)) == 6
    assert dropout.of_rows(None, values, 0.5) is values
