"""Sums and counts over masked tokens, by hand and against loops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special

from resgen_jax.losses import masked


def test_the_denominator_counts_tokens_not_positions():
    loss = jnp.array([[4.0, 8.0, 100.0], [6.0, 100.0, 100.0]])
    num_hidden = jnp.array([[1, 3, 0], [2, 0, 0]])
    is_masked = jnp.arange(3)[None, None] >= 3 - num_hidden[..., None]
    # 4 + 8 + 6 of 1 + 3 + 2 tokens; what hides nothing is not scored
    for is_valid, total, count in (([1, 1], 18, 6), ([1, 0], 12, 4), ([0, 0], 0, 1)):
        is_valid = jnp.broadcast_to(jnp.array(is_valid, bool)[:, None], (2, 3))
        assert masked.masked_sum(loss, is_masked, is_valid) == total
        assert masked.num_masked(is_masked, is_valid) == count


def test_padding_is_neither_added_nor_counted():
    loss = jnp.array([[4.0, jnp.nan, 8.0], [6.0, 1.0, jnp.nan]])
    is_masked = jnp.ones((2, 3, 4), bool).at[0, 0, 0].set(False)
    is_valid = jnp.array([[1, 0, 1], [1, 1, 0]], bool)
    assert masked.masked_sum(loss, is_masked, is_valid) == 19
    assert masked.num_masked(is_masked, is_valid) == 15


def test_nothing_masked_is_zero_with_a_finite_gradient():
    def loss(values):
        return masked.masked_sum(values, jnp.zeros((2, 3, 4), bool), jnp.ones((2, 3), bool))

    value, grad = jax.value_and_grad(loss)(jnp.full((2, 3), jnp.nan))
    assert value == 0
    np.testing.assert_array_equal(grad, 0)


@pytest.fixture
def example():
    random = np.random.default_rng(0)
    logits = random.normal(size=(2, 5, 3, 7)).astype(np.float32) * 3
    codes = random.integers(0, 7, (2, 5, 3))
    is_masked = random.random((2, 5, 3)) < 0.6
    is_masked[..., 0] = False
    return logits, codes, is_masked


def test_per_level_nll_equals_a_loop(example):
    logits, codes, is_masked = example
    result = masked.per_level_nll(*map(jnp.asarray, example))
    log_prob = scipy.special.log_softmax(logits.astype(np.float64), axis=-1)
    for level in range(3):
        cells = np.argwhere(is_masked[..., level])
        values = [-log_prob[b, l, level, codes[b, l, level]] for b, l in cells]
        assert result[level] == pytest.approx(np.mean(values) if values else 0.0, rel=1e-5)
    assert result[0] == 0


def test_visible_codes_do_not_matter(example):
    logits, codes, is_masked = example
    changed = np.where(is_masked, codes, 0)
    np.testing.assert_array_equal(
        masked.per_level_nll(*map(jnp.asarray, (logits, codes, is_masked))),
        masked.per_level_nll(*map(jnp.asarray, (logits, changed, is_masked))),
    )


def test_uniform_logits_cost_log_of_the_codebook_size():
    nll = masked.code_nll(jnp.zeros((1, 2, 3, 64)), jnp.zeros((1, 2, 3), jnp.int32))
    np.testing.assert_allclose(nll, np.log(64), rtol=1e-6)
