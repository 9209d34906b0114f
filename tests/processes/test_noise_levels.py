"""The schedule of betas against a plain loop, respacing against its published form, and levels."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.processes import interpolants, noise_levels


def betas_by_a_loop(num_steps):
    def kept(share):
        return math.cos((share + 0.008) / 1.008 * math.pi / 2) ** 2

    return [
        min(1 - kept((step + 1) / num_steps) / kept(step / num_steps), 0.999)
        for step in range(num_steps)
    ]


def test_squared_cosine_equals_the_betas_of_a_loop():
    schedule = noise_levels.squared_cosine(1000)
    kept = 1.0
    for step, beta in enumerate(betas_by_a_loop(1000)):
        kept *= 1 - beta
        assert schedule.alpha[step] ** 2 == pytest.approx(kept, rel=1e-9)
        assert schedule.alpha[step] ** 2 + schedule.sigma[step] ** 2 == pytest.approx(1)
    assert betas_by_a_loop(1000)[-1] == 0.999


def test_respacing_keeps_the_published_steps():
    stride, cursor, steps = 999 / 249, 0.0, []
    for _ in range(250):
        steps.append(round(cursor))
        cursor += stride
    schedule = noise_levels.squared_cosine(1000)
    levels = noise_levels.respaced(schedule, 250)
    np.testing.assert_array_equal(levels.times, steps[::-1])
    np.testing.assert_array_equal(levels.alpha[:-1], schedule.alpha[steps[::-1]])
    assert (levels.alpha[-1], levels.sigma[-1]) == (1, 0)


def test_a_single_step_begins_where_all_is_noise():
    levels = noise_levels.respaced(noise_levels.squared_cosine(1000), 1)
    assert levels.times == [999]


def test_all_steps_are_the_schedule():
    levels = noise_levels.respaced(noise_levels.squared_cosine(7), 7)
    np.testing.assert_array_equal(levels.times, np.arange(7)[::-1])


def test_levels_of_a_path_are_its_coefficients():
    times = np.array([1.0, 0.5, 0.0])
    levels = noise_levels.on_path(interpolants.COSINE, times)
    np.testing.assert_array_equal(levels.times, [1, 0.5])
    np.testing.assert_allclose(levels.alpha, [0, math.sqrt(0.5), 1])
    np.testing.assert_allclose(levels.sigma, [1, math.sqrt(0.5), 0])


def test_the_data_comes_back_out_of_mix():
    data, noise = jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4, 2)), jnp.float32)
    schedule, steps = noise_levels.squared_cosine(10), jnp.array([0, 4, 8])
    states = jax.jit(lambda steps: noise_levels.mix(data, noise, steps, schedule))(steps)
    alpha = np.sqrt(np.cumprod(1 - np.array(betas_by_a_loop(10))))[np.asarray(steps)]
    expected = alpha[:, None, None] * data + np.sqrt(1 - alpha**2)[:, None, None] * noise
    np.testing.assert_allclose(states, expected, atol=1e-6)
    for told in (steps, steps.astype(jnp.float32)):
        found = noise_levels.data_of_noise(noise, states, told, schedule)
        np.testing.assert_allclose(found, data, atol=1e-5)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: noise_levels.squared_cosine(0), "num_steps is 0; expected at least 1"),
        (lambda: noise_levels.respaced(noise_levels.squared_cosine(5), 0), "at least 1"),
        (lambda: noise_levels.respaced(noise_levels.squared_cosine(5), 6), "at most 5"),
        (lambda: noise_levels.check_falling(np.array([0.0, 1.0])), "expected falling ones"),
        (lambda: noise_levels.check_falling(np.array([1.0])), "expected at least 2"),
        (lambda: noise_levels.check_falling(np.array([1.5, 0.0])), "time 1.5"),
        (
            lambda: noise_levels.mix(
                jnp.ones((1, 2)), jnp.ones((1, 2)), jnp.array([5]), noise_levels.squared_cosine(5)
            ),
            "expected 0 to 4",
        ),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(errors.UserError, match=message):
        call()
