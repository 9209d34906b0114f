"""The bound that teaches a variance, against DiT's formulas in NumPy and float64."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.training import variance_bound

NUM_STEPS, SHAPE = 50, (8, 2, 3)
TIMES = np.array([0, 1, 2, 7, 20, 47, 48, 49])


@pytest.fixture(scope="module")
def inputs():
    """Data, noise, what was predicted of it, and shares of the variance, beyond 0 and 1 too."""
    random = np.random.default_rng(0)
    data, noise, error = random.normal(size=(3, *SHAPE))
    return data, noise, noise + 0.3 * error, random.uniform(-0.2, 1.2, SHAPE)


def bits(noise, predicted, share, times=TIMES):
    arrays = (jnp.asarray(each, jnp.float32) for each in (times, noise, predicted, share))
    return variance_bound.bits(*arrays, variance_bound.steps_of(NUM_STEPS))


def tables():
    """beta, its products, and the posterior's variance and means, as DDPM has them."""
    share = (np.arange(NUM_STEPS + 1) / NUM_STEPS + 0.008) / 1.008
    f = np.cos(np.pi / 2 * share) ** 2
    beta = np.minimum(1 - f[1:] / f[:-1], 0.999)
    kept = np.cumprod(1 - beta)
    before = np.append(1.0, kept[:-1])
    variance = beta * (1 - before) / (1 - kept)
    of_data = np.sqrt(before) * beta / (1 - kept)
    of_state = np.sqrt(1 - beta) * (1 - before) / (1 - kept)
    return beta, kept, variance, of_data, of_state


def by_formulas(data, noise, predicted, share):
    """KL of two normal densities, or at step 0 minus the log density of the data."""
    beta, kept, variance, of_data, of_state = tables()
    rows = []
    for row, step in enumerate(TIMES):
        state = math.sqrt(kept[step]) * data[row] + math.sqrt(1 - kept[step]) * noise[row]
        guess = (state - math.sqrt(1 - kept[step]) * predicted[row]) / math.sqrt(kept[step])
        mean = of_data[step] * guess + of_state[step] * state
        least = math.log(variance[max(step, 1)])
        log_variance = share[row] * math.log(beta[step]) + (1 - share[row]) * least
        if step == 0:
            apart = data[row] - mean
            nats = (math.log(2 * math.pi) + log_variance + apart**2 / np.exp(log_variance)) / 2
        else:
            apart = of_data[step] * data[row] + of_state[step] * state - mean
            ratio = np.exp(least - log_variance)
            nats = (ratio - 1 - np.log(ratio) + apart**2 / np.exp(log_variance)) / 2
        rows.append(np.mean(nats, axis=-1) / math.log(2))
    return np.stack(rows)


def test_bits_are_those_of_the_published_formulas(inputs):
    data, noise, predicted, share = inputs
    wanted = by_formulas(data, noise, predicted, share)
    np.testing.assert_allclose(bits(noise, predicted, share), wanted, rtol=1e-3, atol=1e-5)


def test_the_true_posterior_costs_nothing_but_at_the_first_step(inputs):
    _, noise, predicted, _ = inputs
    found = bits(noise, noise, np.zeros(SHAPE))
    np.testing.assert_allclose(found[1:], 0, atol=1e-6)
    assert np.all(found[0] < -1)  # the density of so narrow a normal
    # And what predicts other noise, or another variance, costs more.
    assert np.all(bits(noise, predicted, np.zeros(SHAPE))[1:] > 1e-5)
    wider = bits(noise, noise, np.ones(SHAPE))
    assert np.all(wider[1:5] > 1e-7)


def test_only_the_variance_learns_by_it(inputs):
    _, noise, predicted, share = inputs

    def total(predicted, share):
        return jnp.sum(bits(noise, predicted, share))

    of_noise, of_share = jax.grad(total, (0, 1))(
        jnp.asarray(predicted, jnp.float32), jnp.asarray(share, jnp.float32)
    )
    np.testing.assert_array_equal(of_noise, 0)
    assert np.all(np.any(of_share != 0, axis=(1, 2)))


def test_all_of_the_thousand_steps_are_finite():
    for table in variance_bound.steps_of(1000):
        assert table.shape == (1000,)
        assert np.isfinite(table).all()
    steps = variance_bound.steps_of(1000)
    assert np.all(steps.log_least[1:] <= steps.log_most[1:])
