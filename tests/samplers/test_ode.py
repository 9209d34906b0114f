"""Solvers of the flow: moments and orders on a Gaussian, and scipy on a mixture."""

import functools
import itertools

import gaussian_flows
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate

from resgen_jax.core import errors
from resgen_jax.samplers import ode, time_grids

GAUSSIAN = gaussian_flows.example()


@pytest.fixture(params=["linear", "cosine"])
def name(request):
    return request.param


@pytest.mark.parametrize(("solver", "num_steps"), [("euler", 250), ("heun", 40)])
def test_the_moments_of_a_gaussian_are_reproduced(key, name, solver, num_steps):
    solve = functools.partial(ode.by_name(solver), gaussian_flows.velocity(GAUSSIAN, name))
    noise = jax.random.normal(key, (4096, 3))
    samples = jax.jit(solve)(noise, time_grids.uniform(num_steps))
    gaussian_flows.check_moments(samples, GAUSSIAN.mean, GAUSSIAN.covariance)


@pytest.mark.parametrize(("solver", "expected"), [("euler", 1), ("heun", 2)])
def test_the_order_is_the_one_of_the_books(key, name, solver, expected):
    noise = jax.random.normal(key, (16, 3))
    exact = gaussian_flows.flow(GAUSSIAN, np.asarray(noise, np.float64))
    solve = ode.by_name(solver)

    def error(num_steps):
        grid = time_grids.uniform(num_steps)
        found = solve(gaussian_flows.velocity(GAUSSIAN, name), noise, grid)
        return np.sqrt(np.mean((found - exact) ** 2))

    assert gaussian_flows.order(error, [32, 64, 128, 256]) == pytest.approx(expected, abs=0.15)


def mixture_velocity(states, times, numpy):
    """Of data at -1.5 and 1, both N(., 0.3^2) and as likely, on the linear path."""
    alpha, sigma = 1 - times, times
    total = alpha**2 * 0.09 + sigma**2
    apart = [states - alpha * mean for mean in (-1.5, 1.0)]
    first = 1 / (1 + numpy.exp((apart[0] ** 2 - apart[1] ** 2) / (2 * total)))
    shares = first, 1 - first
    noise = sum(share * sigma / total * x for share, x in zip(shares, apart, strict=True))
    data = sum(
        share * (mean + alpha * 0.09 / total * x)
        for share, mean, x in zip(shares, (-1.5, 1.0), apart, strict=True)
    )
    return noise - data


@pytest.mark.parametrize(("solver", "atol"), [("euler", 2e-2), ("heun", 1e-3)])
def test_a_flow_that_is_not_linear_ends_where_scipy_does(solver, atol):
    noise = np.linspace(-2, 2, 9)
    right = scipy.integrate.solve_ivp(
        lambda time, states: mixture_velocity(states, time, np), (1, 0), noise, rtol=1e-9, atol=1e-9
    ).y[:, -1]
    found = ode.by_name(solver)(
        lambda states, times: mixture_velocity(states, times[:, None], jnp),
        jnp.asarray(noise, jnp.float32)[:, None],
        time_grids.uniform(200),
    )
    np.testing.assert_allclose(found[:, 0], right, atol=atol)


def test_one_program_is_the_loop_in_python(key):
    noise, grid = jax.random.normal(key, (4, 3)), time_grids.uniform(5)
    velocity = gaussian_flows.velocity(GAUSSIAN, "linear")
    states = noise
    for time, next_time in itertools.pairwise(grid):
        states = states + (next_time - time) * velocity(states, jnp.full(4, time))
    np.testing.assert_allclose(ode.euler(velocity, noise, grid), states, atol=1e-6)


def test_other_times_do_not_compile_again(key):
    count = 0

    def velocity(states, times):
        nonlocal count
        count += 1
        return states * times[:, None]

    solve = jax.jit(functools.partial(ode.euler, velocity))
    noise = jax.random.normal(key, (2, 3))
    first = solve(noise, np.array([1.0, 0.5, 0.0]))
    traced = count
    assert np.any(solve(noise, np.array([1.0, 0.25, 0.0])) != first)
    assert count == traced


@pytest.mark.parametrize("solver", [ode.euler, ode.heun])
def test_the_velocity_is_never_asked_for_at_the_data(solver):
    def velocity(states, times):  # of data that is all 0
        return states / times[:, None]

    found = solver(velocity, jnp.ones((2, 3)), time_grids.uniform(4))
    np.testing.assert_allclose(found, 0, atol=1e-6)


def test_a_network_in_half_precision_keeps_the_states_in_float32():
    def velocity(states, times):
        return (states * times[:, None]).astype(jnp.bfloat16)

    found = ode.heun(velocity, jnp.ones((2, 3, 1), jnp.bfloat16)[..., 0], time_grids.uniform(3))
    assert found.dtype == jnp.float32


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ode.by_name("eular"), "solver 'eular' is unknown; did you mean 'euler'"),
        (lambda: ode.euler(lambda x, t: x, jnp.ones((1, 1)), np.array([1.0])), "at least 2"),
        (lambda: ode.heun(lambda x, t: x, jnp.ones((1, 1)), np.array([2.0, 0.0])), "time 2.0"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(errors.UserError, match=message):
        call()
