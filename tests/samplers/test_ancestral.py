"""Ancestral sampling on a Gaussian: posteriors by DDPM's betas, laws in NumPy, and exact draws."""

import functools
import itertools

import gaussian_flows
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import keys as random_keys
from resgen_jax.processes import interpolants, noise_levels
from resgen_jax.samplers import ancestral, time_grids

GAUSSIAN = gaussian_flows.example()
SCHEDULE = noise_levels.squared_cosine(1000)


def draw(key, denoise, count, levels):
    keys = random_keys.example_keys(key, jnp.arange(count))
    noise = jax.random.normal(jax.random.fold_in(key, 1_000_000), (count, 3))
    plan = ancestral.plan(levels)
    return jax.jit(functools.partial(ancestral.sample, denoise=denoise))(
        keys, noise=noise, plan=plan
    )


def from_noise(gaussian, share):
    """The exact noise of a network that is told the steps of the schedule, as data."""
    alpha, sigma = (
        jnp.asarray(SCHEDULE.alpha, jnp.float32),
        jnp.asarray(SCHEDULE.sigma, jnp.float32),
    )

    def denoise(states, times):
        step = times[0].astype(jnp.int32)
        noise = gaussian_flows.means(gaussian, states, alpha[step], sigma[step])[1]
        data = noise_levels.data_of_noise(noise, states, times, SCHEDULE)
        return data, jnp.full_like(data, share)

    return denoise


def law(levels, share):
    """Mean and covariance that DDPM's equations give, from the betas of the respaced steps."""
    kept = levels.alpha**2
    steps = []
    for now, after in itertools.pairwise(kept):
        beta = 1 - now / after
        data, _ = gaussian_flows.affine_means(GAUSSIAN, np.sqrt(now), np.sqrt(1 - now))
        of_data = np.sqrt(after) * beta / (1 - now)
        of_state = np.sqrt(1 - beta) * (1 - after) / (1 - now)
        least = beta * (1 - after) / (1 - now)
        added = 0.0 if after == 1 else np.exp(share * np.log(beta) + (1 - share) * np.log(least))
        steps.append((of_state + of_data * data[0], of_data * data[1], added))
    return gaussian_flows.law_of_affine(GAUSSIAN, steps)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_250_respaced_steps_reproduce_the_moments(key, share):
    levels = noise_levels.respaced(SCHEDULE, 250)
    samples = draw(key, from_noise(GAUSSIAN, share), 4096, levels)
    gaussian_flows.check_moments(samples, GAUSSIAN.mean, GAUSSIAN.covariance)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_few_steps_have_the_law_of_ddpm(key, share):
    levels = noise_levels.respaced(SCHEDULE, 8)
    mean, covariance = law(levels, share)
    samples = draw(key, from_noise(GAUSSIAN, share), 4096, levels)
    gaussian_flows.check_moments(samples, mean, covariance)


def test_with_the_right_variance_three_steps_on_a_path_are_exact(key):
    variance = 0.5  # the same on all axes: one share is right for all of them
    gaussian = GAUSSIAN._replace(variances=np.full(3, variance))
    levels = noise_levels.on_path(interpolants.COSINE, np.array([1.0, 0.7, 0.35, 1e-3]))
    plan = ancestral.plan(levels)
    total = levels.alpha[:-1] ** 2 * variance + levels.sigma[:-1] ** 2
    left = variance * levels.sigma[:-1] ** 2 / total  # of the data, when the state is known
    wanted = np.log(np.exp(plan.log_least) + plan.from_data**2 * left)
    shares = (wanted - plan.log_least) / (plan.log_most - plan.log_least)
    assert ((shares > 0) & (shares < 1)).all()

    def denoise(states, times):
        data = gaussian_flows.denoise(gaussian, "cosine")(states, times)
        table = jnp.asarray(shares, jnp.float32)
        place = jnp.argmin(jnp.abs(jnp.asarray(levels.times, jnp.float32) - times[0]))
        return data, jnp.full_like(data, table[place])

    # The last step draws nothing, so the law is exact one step before it.
    samples = draw(key, denoise, 4096, levels)
    before = levels.alpha[-2] ** 2 * variance + levels.sigma[-2] ** 2
    slope = plan.from_state[-1] + plan.from_data[-1] * levels.alpha[-2] * variance / before
    covariance = slope**2 * before * np.eye(3)
    gaussian_flows.check_moments(samples, levels.alpha[-1] * gaussian.mean, covariance)


def test_data_that_is_known_comes_out_exactly(key):
    levels = noise_levels.on_path(interpolants.LINEAR, time_grids.uniform(4))
    denoise = ancestral.with_share(lambda states, times: jnp.full_like(states, 0.5), 1.0)
    np.testing.assert_allclose(draw(key, denoise, 2, levels), 0.5, atol=1e-6)


def test_a_row_does_not_depend_on_its_batch(key):
    keys, noise = random_keys.example_keys(key, jnp.arange(4)), jax.random.normal(key, (4, 2, 1))
    plan = ancestral.plan(noise_levels.respaced(SCHEDULE, 3))
    denoise = ancestral.with_share(lambda states, times: states, 0.0)
    many = ancestral.sample(keys, denoise, noise, plan)
    np.testing.assert_array_equal(many[2:], ancestral.sample(keys[2:], denoise, noise[2:], plan))
