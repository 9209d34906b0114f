"""Velocity, noise, score and data out of one another: inverses, closed forms and ends."""

import functools
import itertools

import gaussian_flows
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.processes import interpolants, predictions

NAMES = ["velocity", "noise", "score", "data"]


@pytest.fixture(params=["linear", "cosine"])
def name(request):
    return request.param


@pytest.fixture
def drawn():
    """Data and noise "b l c" with times inside of (0, 1)."""
    random = np.random.default_rng(0)
    data, noise = jnp.asarray(random.normal(size=(2, 5, 3, 2)), jnp.float32)
    return data, noise, jnp.array([0.05, 0.3, 0.5, 0.8, 0.95])


@pytest.mark.parametrize(("source", "target"), list(itertools.permutations(NAMES, 2)))
def test_conversions_are_each_others_inverses(drawn, name, source, target):
    data, noise, times = drawn
    path = interpolants.by_name(name)
    source, target = predictions.by_name(source), predictions.by_name(target)
    states = interpolants.mix(data, noise, times, path)
    there = predictions.target(data, noise, times, path, source)
    convert = jax.jit(
        functools.partial(predictions.convert, path=path, source=source, target=target)
    )
    found = convert(there, states, times)
    np.testing.assert_allclose(
        found, predictions.target(data, noise, times, path, target), atol=2e-4
    )
    back = predictions.convert(found, states, times, path, target, source)
    np.testing.assert_allclose(back, there, atol=2e-4)


def test_the_velocity_is_the_derivative_of_the_mix(drawn, name):
    data, noise, times = drawn
    path = interpolants.by_name(name)
    _, slope = jax.jvp(
        lambda times: interpolants.mix(data, noise, times, path), (times,), (jnp.ones_like(times),)
    )
    np.testing.assert_allclose(predictions.target(data, noise, times, path), slope, atol=1e-5)


def test_the_score_is_the_one_of_the_papers_formula(drawn, name):
    data, noise, times = drawn
    path = interpolants.by_name(name)
    states = interpolants.mix(data, noise, times, path)
    velocity = noise - 2 * data  # any will do
    score = predictions.convert(
        velocity, states, times, path, predictions.VELOCITY, predictions.SCORE
    )
    alpha, sigma, alpha_rate, sigma_rate = (
        np.broadcast_to(value, 5)[:, None, None]
        for value in gaussian_flows.coefficients(name, np.asarray(times, np.float64))
    )
    ratio = alpha / alpha_rate
    expected = (ratio * velocity - states) / (sigma**2 - ratio * sigma_rate * sigma)
    np.testing.assert_allclose(score, expected, rtol=1e-3, atol=1e-3)


def test_the_score_of_a_gaussian_is_the_gradient_of_its_log_density(name):
    gaussian, path = gaussian_flows.example(), interpolants.by_name(name)
    states = jnp.asarray(np.random.default_rng(1).normal(size=(6, 3)), jnp.float32)
    predict = predictions.converted(
        gaussian_flows.velocity(gaussian, name), path, predictions.VELOCITY, predictions.SCORE
    )
    for time in (0.1, 0.6, 1.0):
        alpha, sigma, _, _ = gaussian_flows.coefficients(name, time)
        total = alpha**2 * gaussian.covariance + sigma**2 * np.eye(3)
        expected = -(np.asarray(states) - alpha * gaussian.mean) @ np.linalg.inv(total)
        np.testing.assert_allclose(predict(states, jnp.full(6, time)), expected, atol=2e-4)


def test_of_a_velocity_both_ends_are_exact(drawn, name):
    data, noise, _ = drawn
    path, times = interpolants.by_name(name), jnp.array([0.0, 0.0, 1.0, 1.0, 1.0])
    states = interpolants.mix(data, noise, times, path)
    velocity = predictions.target(data, noise, times, path)
    for target, expected in ((predictions.DATA, data), (predictions.NOISE, noise)):
        found = predictions.convert(velocity, states, times, path, predictions.VELOCITY, target)
        np.testing.assert_allclose(found, expected, atol=1e-6)


def test_half_precision_is_converted_in_float32(drawn):
    data, noise, times = drawn
    low = noise.astype(jnp.bfloat16)
    found = predictions.convert(
        low, data, times, interpolants.LINEAR, predictions.NOISE, predictions.NOISE
    )
    assert found.dtype == jnp.float32


def test_mistakes_are_named():
    with pytest.raises(errors.UserError, match="did you mean 'velocity'"):
        predictions.by_name("velocit")
    ones = jnp.ones((1, 2))
    with pytest.raises(errors.UserError, match="time 1.5"):
        predictions.target(ones, ones, jnp.array([1.5]), interpolants.LINEAR)
