"""DPM-Solver++(2M) against its published form, its order, and the moments of a Gaussian."""

import functools

import gaussian_flows
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.processes import interpolants, noise_levels
from resgen_jax.samplers import dpm_solver, time_grids

GAUSSIAN = gaussian_flows.example()
SCHEDULE = noise_levels.squared_cosine(1000)


def of_schedule(states, times):
    alpha, sigma = (jnp.asarray(table, states.dtype) for table in SCHEDULE)
    step = times[0].astype(jnp.int32)
    return gaussian_flows.means(GAUSSIAN, states, alpha[step], sigma[step])[0]


def solve(denoise, noise, levels):
    run = jax.jit(functools.partial(dpm_solver.sample, denoise))
    return run(noise, dpm_solver.plan(levels))


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_on_a_path_the_moments_are_reproduced(key, name):
    noise = jax.random.normal(key, (4096, 3))
    levels = noise_levels.on_path(interpolants.by_name(name), time_grids.uniform(40))
    samples = solve(gaussian_flows.denoise(GAUSSIAN, name), noise, levels)
    gaussian_flows.check_moments(samples, GAUSSIAN.mean, GAUSSIAN.covariance)


def test_on_the_schedule_the_moments_are_reproduced(key):
    noise = jax.random.normal(key, (4096, 3))
    samples = solve(of_schedule, noise, noise_levels.respaced(SCHEDULE, 100))
    gaussian_flows.check_moments(samples, GAUSSIAN.mean, GAUSSIAN.covariance)


@pytest.mark.parametrize("name", ["linear", "cosine"])
def test_the_order_is_2_in_even_steps_of_the_log_ratio(key, name):
    noise = jax.random.normal(key, (16, 3))
    path = interpolants.by_name(name)

    def error(num_steps):
        grid = path.time_of_ratio(np.exp(np.linspace(4.0, -4.0, num_steps + 1)))
        levels = noise_levels.on_path(path, grid)
        found = solve(gaussian_flows.denoise(GAUSSIAN, name), noise, levels)
        ends = (
            gaussian_flows.coefficients(name, time)[:2]
            for time in (float(grid[0]), float(grid[-1]))
        )
        exact = gaussian_flows.flow(GAUSSIAN, np.asarray(noise, np.float64), *ends)
        return np.sqrt(np.mean((found - exact) ** 2))

    assert gaussian_flows.order(error, [32, 64, 128]) == pytest.approx(2, abs=0.15)


def test_it_equals_the_algorithm_of_the_paper(key):
    grid = np.array([0.9, 0.6, 0.5, 0.2, 0.1])
    noise = jax.random.normal(key, (4, 3))
    levels = noise_levels.on_path(interpolants.COSINE, grid)
    found = dpm_solver.sample(
        gaussian_flows.denoise(GAUSSIAN, "cosine"), noise, dpm_solver.plan(levels)
    )
    alpha, sigma, _, _ = gaussian_flows.coefficients("cosine", grid)
    log_ratio = np.log(alpha / sigma)
    states, last = np.asarray(noise, np.float64), None
    for step in range(1, len(grid)):
        h = log_ratio[step] - log_ratio[step - 1]
        slope, constant = gaussian_flows.affine_means(GAUSSIAN, alpha[step - 1], sigma[step - 1])[0]
        data = (states @ GAUSSIAN.axes * slope + constant) @ GAUSSIAN.axes.T
        ahead = data
        if last is not None:
            ratio = (log_ratio[step - 1] - log_ratio[step - 2]) / h
            ahead = (1 + 1 / (2 * ratio)) * data - 1 / (2 * ratio) * last
        states = sigma[step] / sigma[step - 1] * states - alpha[step] * np.expm1(-h) * ahead
        last = data
    np.testing.assert_allclose(found, states, atol=1e-5)


def test_a_single_step_gives_the_data_that_is_predicted():
    levels = noise_levels.on_path(interpolants.LINEAR, time_grids.uniform(1))
    found = dpm_solver.sample(
        lambda states, times: jnp.full_like(states, 3), jnp.ones((2, 3)), dpm_solver.plan(levels)
    )
    np.testing.assert_array_equal(found, 3)
