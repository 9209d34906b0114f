"""The ends, the derivatives and the inverses of paths, and the times of training."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.processes import interpolants

NAMES = ["linear", "cosine"]
COUNT = 20_000


@pytest.fixture(params=NAMES)
def path(request):
    return interpolants.by_name(request.param)


@pytest.mark.parametrize("module", [np, jnp])
def test_ends_are_exact(path, module):
    at = path.at(module.asarray([0.0, 1.0]))
    np.testing.assert_array_equal(at.alpha, [1, 0])
    np.testing.assert_array_equal(at.sigma, [0, 1])


def test_rates_are_the_derivatives(path):
    times = jnp.linspace(0.0, 1.0, 17)
    at = path.at(times)
    for value, rate in (("alpha", at.alpha_rate), ("sigma", at.sigma_rate)):
        slope = jax.vmap(jax.grad(lambda time, value=value: getattr(path.at(time), value)))(times)
        np.testing.assert_allclose(rate, slope, atol=1e-6)


def test_cosine_keeps_the_variance_and_linear_is_straight():
    times = np.linspace(0, 1, 9)
    cosine, linear = interpolants.COSINE.at(times), interpolants.LINEAR.at(times)
    np.testing.assert_allclose(cosine.alpha**2 + cosine.sigma**2, 1, atol=1e-15)
    np.testing.assert_allclose(cosine.alpha, np.cos(np.pi * times / 2), atol=1e-15)
    np.testing.assert_allclose(linear.alpha + linear.sigma, 1, atol=1e-15)
    assert cosine.alpha.dtype == linear.alpha.dtype == np.float64


def test_time_of_ratio_is_the_inverse(path):
    times = np.linspace(0, 0.99, 12)
    at = path.at(times)
    np.testing.assert_allclose(path.time_of_ratio(at.sigma / at.alpha), times, atol=1e-12)


def test_mix_by_hand_and_in_float32():
    data, noise = jnp.full((2, 3, 1), 2.0, jnp.bfloat16), jnp.full((2, 3, 1), -4.0)
    mixed = interpolants.mix(data, noise, jnp.array([0.25, 1.0]), interpolants.LINEAR)
    assert mixed.dtype == jnp.float32
    np.testing.assert_allclose(mixed[:, 0, 0], [0.75 * 2 - 0.25 * 4, -4])


def test_lognormal_times_have_a_normal_log_ratio(path, key):
    times = np.asarray(interpolants.time_draw_by_name("lognormal")(key, COUNT, path), np.float64)
    at = path.at(times)
    log_ratio = np.log(at.sigma / at.alpha)
    assert abs(log_ratio.mean()) < 4.5 / np.sqrt(COUNT)
    assert abs(log_ratio.var() - 1) < 4.5 * np.sqrt(2 / COUNT)
    assert abs((times < 0.5).mean() - 0.5) < 4.5 / np.sqrt(4 * COUNT)


def test_uniform_times_have_the_moments_of_even_ones(path, key):
    times = np.asarray(interpolants.time_draw_by_name("uniform")(key, COUNT, path))
    assert times.min() >= 0
    assert times.max() < 1
    assert abs(times.mean() - 0.5) < 4.5 / np.sqrt(12 * COUNT)
    assert abs(np.quantile(times, 0.25) - 0.25) < 4.5 * np.sqrt(0.25 * 0.75 / COUNT)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: interpolants.by_name("cosin"), "path 'cosin' is unknown; did you mean 'cosine'"),
        (lambda: interpolants.by_name("zzz"), "known: cosine, linear"),
        (lambda: interpolants.time_draw_by_name("log_normal"), "did you mean 'lognormal'"),
        (lambda: interpolants.check_times(np.array([0.5, 1.25])), "time 1.25; expected 0 .data."),
        (lambda: interpolants.check_times(jnp.array([-0.5])), "time -0.5"),
        (lambda: interpolants.check_times(np.array([np.nan])), "time nan"),
        (
            lambda: interpolants.mix(
                jnp.ones((1, 2)), jnp.ones((1, 2)), jnp.array([2.0]), interpolants.LINEAR
            ),
            "time 2.0",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(errors.UserError, match=message):
        call()
