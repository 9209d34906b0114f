"""Scores of the cells and the decay of their noise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.samplers import order


@pytest.fixture
def row_keys():
    return jax.vmap(jax.random.key)(jnp.arange(2))


def test_without_noise_the_score_is_the_confidence(row_keys):
    confidence = jnp.arange(24, dtype=jnp.float32).reshape(2, 4, 3)
    np.testing.assert_array_equal(order.by_confidence(row_keys, confidence, 0.0), confidence)


def test_noise_is_gumbel_and_scales(row_keys):
    confidence = jnp.zeros((2, 100, 50))
    noise = np.asarray(order.by_confidence(row_keys, confidence, 2.0)) / 2
    assert noise.mean() == pytest.approx(np.euler_gamma, abs=0.05)
    assert noise.var() == pytest.approx(np.pi**2 / 6, abs=0.1)
    assert (noise[0] != noise[1]).all()


def test_at_random_does_not_look_at_the_confidence(row_keys):
    one, other = jnp.zeros((2, 4, 3)), jnp.ones((2, 4, 3))
    np.testing.assert_array_equal(
        order.at_random(row_keys, one, 1.0), order.at_random(row_keys, other, 0.0)
    )


def test_decays_by_hand():
    np.testing.assert_allclose(order.linear_decay(4, 2.0), [1.5, 1, 0.5, 0])
    np.testing.assert_allclose(order.decay_by_name("constant")(3, 2.0), [2, 2, 2])
    assert order.linear_decay(4, 2.0).dtype == np.float32


def test_unknown_decay_names_the_nearest():
    with pytest.raises(errors.UserError, match="did you mean 'linear'"):
        order.decay_by_name("liner")
