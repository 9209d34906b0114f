"""The reverse SDE on a Gaussian: its exact law in NumPy, its samples, and its last step."""

import functools
import itertools
import pathlib
import re

import gaussian_flows
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, spaces
from resgen_jax.core import keys as random_keys
from resgen_jax.generators import diffusion_transformer
from resgen_jax.processes import interpolants
from resgen_jax.samplers import ode, sde, time_grids

GAUSSIAN = gaussian_flows.example()


@pytest.fixture(params=["linear", "cosine"])
def name(request):
    return request.param


def draw(key, name, count, grid, **options):
    velocity = gaussian_flows.velocity(GAUSSIAN, name)
    path = interpolants.by_name(name)
    keys = random_keys.example_keys(key, jnp.arange(count))
    noise = jax.random.normal(jax.random.fold_in(key, 1_000_000), (count, 3))
    solve = functools.partial(sde.euler_maruyama, path=path, velocity=velocity, **options)
    return jax.jit(lambda keys, noise, times: solve(keys, noise=noise, times=times))(
        keys, noise, grid
    )


def law(name, grid):
    """Mean and covariance of the published scheme, step by step."""
    steps = []
    for time, next_time in itertools.pairwise(grid):
        alpha, sigma, alpha_rate, sigma_rate = gaussian_flows.coefficients(name, time)
        data, noise = gaussian_flows.affine_means(GAUSSIAN, alpha, sigma)
        step = next_time - time
        # v - t score, and the score is -noise / sigma.
        slope, constant = (
            alpha_rate * of_data + sigma_rate * of_noise + time * of_noise / sigma
            for of_data, of_noise in zip(data, noise, strict=True)
        )
        added = 0.0 if next_time == 0 else 2 * time * abs(step)
        steps.append((1 + step * slope, step * constant, added))
    return gaussian_flows.law_of_affine(GAUSSIAN, steps)


def test_the_moments_of_a_gaussian_are_reproduced(key, name):
    samples = draw(key, name, 4096, time_grids.uniform_until(250))
    gaussian_flows.check_moments(samples, GAUSSIAN.mean, GAUSSIAN.covariance)


def test_few_steps_have_the_law_of_the_published_scheme(key, name):
    grid = time_grids.uniform_until(5)
    mean, covariance = law(name, grid)
    assert np.abs(covariance - GAUSSIAN.covariance).max() > 0.02  # far enough to tell apart
    gaussian_flows.check_moments(draw(key, name, 4096, grid), mean, covariance)


def test_the_scheme_converges_to_the_data(name):
    mean, covariance = law(name, time_grids.uniform_until(4000, 1e-3))
    np.testing.assert_allclose(mean, GAUSSIAN.mean, atol=5e-3)
    np.testing.assert_allclose(covariance, GAUSSIAN.covariance, atol=5e-3)


def test_without_diffusion_it_is_euler(key, name):
    grid = time_grids.uniform(7)
    noise = jax.random.normal(jax.random.fold_in(key, 1_000_000), (4, 3))
    expected = ode.euler(gaussian_flows.velocity(GAUSSIAN, name), noise, grid)
    found = draw(key, name, 4, grid, diffusion=jnp.zeros_like)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_the_last_step_draws_nothing_and_the_others_do(key):
    noise = jnp.ones((2, 3))
    keys = random_keys.example_keys(key, jnp.arange(2))

    def solve(num_steps):
        velocity = gaussian_flows.velocity(GAUSSIAN, "linear")
        grid = time_grids.uniform_until(num_steps)
        return sde.euler_maruyama(keys, velocity, noise, grid, interpolants.LINEAR)

    np.testing.assert_allclose(*solve(1), atol=1e-6)
    first, second = solve(2)
    assert np.abs(first - second).min() > 1e-3


def test_a_row_does_not_depend_on_its_batch(key):
    keys = random_keys.example_keys(key, jnp.arange(4))
    noise = jax.random.normal(key, (4, 2, 1))
    solve = functools.partial(
        sde.euler_maruyama,
        velocity=lambda states, times: states,
        times=time_grids.uniform_until(3),
        path=interpolants.COSINE,
    )
    many, two = solve(keys, noise=noise), solve(keys[2:], noise=noise[2:])
    np.testing.assert_array_equal(many[2:], two)


def test_mistakes_are_named(key):
    keys = random_keys.example_keys(key, jnp.arange(1))
    with pytest.raises(errors.UserError, match="expected falling ones"):
        sde.euler_maruyama(
            keys,
            lambda states, times: states,
            jnp.ones((1, 2)),
            np.array([0.0, 1.0]),
            interpolants.LINEAR,
        )


def test_the_examples_of_the_documents_run():
    page = pathlib.Path(__file__).parents[2] / "docs" / "sampling.md"
    solvers, network = re.findall(r"```python\n(.*?)```", page.read_text(), re.S)
    names = {}
    exec(solvers, names)
    assert names["latents"].shape == (4, 64, 32)
    assert np.isfinite(names["latents"]).all()

    def predict(params):
        labels = jnp.zeros(4, jnp.int32)
        own = dict(mean=0.0, deviation=1.0, labels=labels, params=params)
        exec(network, own)
        return own["velocity"](names["noise"], jnp.full(4, 0.5))

    published = diffusion_transformer.preset("xl")
    space = spaces.Space(spaces.Latents(32, 0.0, 1.0), 64, condition=spaces.Class(1000))
    params = jax.eval_shape(diffusion_transformer.make(published, space).init, jax.random.key(0))
    assert jax.eval_shape(predict, params).shape == (4, 64, 32)
