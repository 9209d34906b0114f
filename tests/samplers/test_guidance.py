"""Guidance off is off to the last bit, and the schedules have the values they promise."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.runtime import mesh as meshes
from resgen_jax.samplers import guidance
from resgen_jax.scaling.compile import collectives, hlo


@pytest.fixture
def pair():
    return jnp.asarray(np.random.default_rng(0).normal(size=(2, 3, 4)), jnp.float32)


def test_scale_one_is_the_conditional_bit_for_bit(pair):
    guided = jax.jit(guidance.guide)(*pair, 1.0)
    np.testing.assert_array_equal(guided, pair[0])


@pytest.mark.parametrize("scale", [0.0, 0.5, 3.0])
def test_guide_equals_its_formula(pair, scale):
    expected = pair[1] + scale * (pair[0] - pair[1])
    np.testing.assert_allclose(guidance.guide(*pair, scale), expected, atol=1e-5)


def test_low_precision_is_guided_in_float32(pair):
    low = pair.astype(jnp.bfloat16)
    guided = guidance.guide(*low, 3.0)
    assert guided.dtype == jnp.float32
    np.testing.assert_array_equal(guided, guidance.guide(*low.astype(jnp.float32), 3.0))


def test_rows_of_both_lie_in_turn_and_come_apart_again(pair):
    both = guidance.interleave(*pair)
    np.testing.assert_array_equal(both[0::2], pair[0])
    np.testing.assert_array_equal(both[1::2], pair[1])
    np.testing.assert_array_equal(guidance.separate(both), pair)


def test_on_a_mesh_no_row_leaves_its_device(mesh):
    place = meshes.batch_sharding(mesh)
    rows = jax.device_put(jnp.ones((16, 3)), place)

    def twice(conditional, unconditional):
        return guidance.separate(jnp.tanh(guidance.interleave(conditional, unconditional)))

    text = jax.jit(twice, out_shardings=place).lower(rows, -rows).compile().as_text()
    assert collectives.read(hlo.parse(text)) == ([], [])


def test_schedules_by_hand():
    np.testing.assert_allclose(guidance.constant(3, 2.5), [2.5, 2.5, 2.5])
    np.testing.assert_allclose(guidance.linear(5, 3.0), [1, 1.5, 2, 2.5, 3])
    np.testing.assert_allclose(guidance.power_cosine(3, 3.0), [1, 2, 3])
    rise = (1 - np.cos(np.pi / 4)) / 2
    np.testing.assert_allclose(guidance.by_name("power_cosine:2")(3, 3.0), [1, 1 + 2 * rise, 3])


@pytest.mark.parametrize("name", ["constant", "linear", "power_cosine"])
def test_every_schedule_ends_at_the_scale_and_is_off_at_one(name):
    schedule = guidance.by_name(name)
    for num_steps in (1, 2, 9):
        assert schedule(num_steps, 4.0).shape == (num_steps,)
        assert schedule(num_steps, 4.0).dtype == np.float32
        assert schedule(num_steps, 4.0)[-1] == 4
        np.testing.assert_array_equal(schedule(num_steps, 1.0), 1)


def test_interval_switches_off_outside():
    scales = guidance.constant(4, 3.0)
    np.testing.assert_array_equal(guidance.interval(scales, 0.25, 0.75), [1, 3, 3, 1])
    np.testing.assert_array_equal(guidance.interval(scales, 0.0, 1.0), scales)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: guidance.by_name("power_cosin"), "did you mean 'power_cosine'"),
        (lambda: guidance.by_name("power_cosine:x"), "above 0"),
        (lambda: guidance.by_name("linear:2"), "only power_cosine takes a number"),
        (lambda: guidance.interval(np.ones(3, np.float32), 0.5, 0.5), "0 <= low < high <= 1"),
        (lambda: guidance.linear(0, 2.0), "at least 1"),
        (lambda: guidance.constant(0, 2.0), "at least 1"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(errors.UserError, match=message):
        call()


def test_an_interval_of_mask_ratios_counts_what_is_masked_before_a_step():
    scales, before = np.float32([3, 3, 3, 3]), np.array([1.0, 0.9, 0.5, 0.2])
    np.testing.assert_array_equal(
        guidance.mask_interval(scales, before, 0.3, 0.95), np.float32([1, 3, 3, 1])
    )
    with pytest.raises(errors.UserError, match="mask ratios"):
        guidance.mask_interval(scales, before, 0.5, 0.5)


def test_guidance_in_time_acts_within_its_interval_alone(pair):
    guided = guidance.guided_in_time(lambda states, times: tuple(pair), 3.0, 0.25, 0.75)
    for time in (0.0, 0.25, 0.5, 0.75, 1.0):
        expected = guidance.guide(*pair, 3.0) if 0.25 <= time <= 0.75 else pair[0]
        np.testing.assert_array_equal(guided(pair[0], jnp.full(3, time)), expected)


def test_guidance_in_time_takes_another_scale_without_compiling_again(pair):
    def solve(scale):
        guided = guidance.guided_in_time(lambda states, times: (states, -states), scale, 0.0, 0.5)
        return guided(pair[0], jnp.array([0.2, 0.4, 0.6]))

    solve = jax.jit(solve)
    found = solve(jnp.float32(2.0))
    np.testing.assert_allclose(found, pair[0] * np.float32([3, 3, 1])[:, None], rtol=1e-6)
    np.testing.assert_array_equal(solve(jnp.float32(1.0)), pair[0])
    assert solve._cache_size() == 1
    with pytest.raises(errors.UserError, match="interval of times"):
        guidance.guided_in_time(lambda states, times: (states, states), 2.0, 0.5, 1.5)
