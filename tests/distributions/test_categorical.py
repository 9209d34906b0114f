"""Laws of draws by one uniform number a row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from resgen_jax.distributions import categorical

NUM_DRAWS = 20_000


@pytest.fixture
def random():
    return np.random.default_rng(0)


@pytest.mark.parametrize("size", [1, 2, 3, 10, 16, 17])
def test_entries_come_as_often_as_their_probability_says(size):
    logits = np.random.default_rng(size).normal(0, 1.5, size).astype(np.float32)
    rows = jnp.broadcast_to(jnp.asarray(logits), (NUM_DRAWS, size))
    drawn = jax.jit(categorical.sample)(jax.random.key(0), rows)
    assert drawn.shape == (NUM_DRAWS,)
    assert drawn.dtype == jnp.int32
    expected = NUM_DRAWS * np.exp(logits) / np.exp(logits).sum()
    found = np.bincount(drawn, minlength=size)
    if size > 1:
        assert stats.chisquare(found, expected, sum_check=False).pvalue > 1e-3


def test_what_a_filter_dropped_is_never_drawn(random):
    logits = random.normal(size=(5000, 23)).astype(np.float32)
    logits[random.random(logits.shape) < 0.8] = -np.inf
    logits[:, 7] = random.normal(size=5000)
    drawn = categorical.sample(jax.random.key(1), jnp.asarray(logits))
    assert np.isfinite(np.take_along_axis(logits, np.asarray(drawn)[:, None], axis=1)).all()


def test_temperature_0_takes_the_likeliest(random):
    logits = random.normal(size=(200, 40)).astype(np.float32)
    drawn = categorical.sample(jax.random.key(2), jnp.asarray(logits / 1e-6))
    np.testing.assert_array_equal(drawn, logits.argmax(-1))


def test_rows_differ_and_a_key_gives_the_same_draws():
    logits = jnp.zeros((3, 50, 1000))
    first, again = (categorical.sample(jax.random.key(3), logits) for _ in range(2))
    np.testing.assert_array_equal(first, again)
    assert len(np.unique(first)) > 100


@pytest.mark.parametrize("uniform", [0.0, 1 - 2**-23])
def test_the_ends_of_the_interval_stay_inside(monkeypatch, random, uniform):
    """Rounding must not step past the last entry, nor onto one without probability before it."""
    logits = random.normal(size=(400, 37)).astype(np.float32)
    logits[:, :3] = logits[:, -2:] = -np.inf
    monkeypatch.setattr(jax.random, "uniform", lambda key, shape, dtype: jnp.full(shape, uniform))
    drawn = categorical.sample(jax.random.key(4), jnp.asarray(logits))
    assert (drawn == 3).all() if uniform == 0 else ((drawn >= 3) & (drawn < 35)).all()
