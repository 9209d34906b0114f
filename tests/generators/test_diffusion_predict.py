"""What samplers get of SiT's and DiT's network: guidance by hand, its price, data and shares."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_diffusion as tiny

from resgen_jax.core import errors, keys
from resgen_jax.generators import diffusion_predict, diffusion_transformer
from resgen_jax.processes import noise_levels
from resgen_jax.samplers import ancestral

SPEC = dataclasses.replace(tiny.SPEC, learns_variance=True)
NETWORK = diffusion_transformer.make(SPEC, tiny.SPACE)
LABELS = jnp.array([2, 0, 1], jnp.int32)
TIMES = jnp.array([0.1, 0.5, 0.9], jnp.float32)
IS_VALID = jnp.arange(tiny.LENGTH)[None] < jnp.array([4, 2, 3])[:, None]
CHANNELS = tiny.CHANNELS


@pytest.fixture(scope="module")
def params():
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(NETWORK.init, jax.random.key(0))
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.4, leaf.shape), jnp.float32), shapes
    )


@pytest.fixture(scope="module")
def states():
    shape = (3, tiny.LENGTH, CHANNELS)
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


@pytest.fixture(scope="module")
def sides(params, states):
    """What the network says with the labels, and without."""
    apply = jax.jit(NETWORK.apply)
    nobody = jnp.full_like(LABELS, tiny.CLASSES)
    return [np.asarray(apply(params, states, TIMES, each, IS_VALID)) for each in (LABELS, nobody)]


def predict(params, states, scale_at):
    run = diffusion_predict.guided(NETWORK, params, tiny.SPACE, LABELS, scale_at, IS_VALID)
    return jax.jit(run)(states, TIMES)


def test_predictions_are_guided_and_shares_are_not(params, states, sides):
    own, other = sides
    led = predict(params, states, diffusion_predict.everywhere(2.5))
    wanted = other + 2.5 * (own - other)
    np.testing.assert_allclose(led[..., :CHANNELS], wanted[..., :CHANNELS], atol=1e-4)
    np.testing.assert_allclose(led[..., CHANNELS:], own[..., CHANNELS:], atol=1e-5)
    assert np.max(np.abs(own - other)) > 0.1


def test_a_scale_of_1_and_times_outside_are_not_guided(params, states, sides):
    own, other = sides
    plain = predict(params, states, diffusion_predict.everywhere(1.0))
    np.testing.assert_allclose(plain, own, atol=1e-5)
    led = predict(params, states, diffusion_predict.within(2.5, 0.1, 0.5))
    wanted = (other + 2.5 * (own - other))[..., :CHANNELS]
    np.testing.assert_allclose(led[:2, :, :CHANNELS], wanted[:2], atol=1e-4)
    np.testing.assert_allclose(led[2], own[2], atol=1e-5)
    with pytest.raises(errors.UserError, match=r"interval of times \[0.5, 0.2\]; expected"):
        diffusion_predict.within(2.0, 0.5, 0.2)


def test_a_step_that_is_not_guided_calls_the_network_on_each_row_once(states):
    """A network that counts its rows shows in what it says how many there were."""

    def count(params, states, times, labels, is_valid):
        del params, times, labels, is_valid
        return jnp.full_like(states, len(states))

    counting = NETWORK._replace(apply=count)

    def rows(times, scale_at):
        run = diffusion_predict.guided(counting, {}, tiny.SPACE, LABELS, scale_at)
        return float(run(states, times)[0, 0, 0])

    inside = diffusion_predict.within(2.0, 0.0, 0.7)
    assert rows(jnp.full(3, 0.6), inside) == 6
    assert rows(jnp.full(3, 0.8), inside) == 3
    assert rows(jnp.full(3, 0.6), diffusion_predict.within(1.0, 0.0, 0.7)) == 3


def test_the_data_of_a_predicted_noise_and_its_share(states):
    schedule = noise_levels.squared_cosine(50)
    steps = jnp.array([0.0, 20.0, 40.0])
    data = np.random.default_rng(2).normal(size=states.shape)
    kept = np.asarray(schedule.alpha)[[0, 20, 40]][:, None, None]
    noise = np.asarray(states, np.float64)
    noisy = jnp.asarray(kept * data + np.sqrt(1 - kept**2) * noise, jnp.float32)
    outputs = jnp.concatenate([states, jnp.full_like(states, -0.5)], axis=-1)
    denoise = diffusion_predict.denoise_with_share(lambda *_: outputs, schedule)
    found, share = denoise(noisy, steps)
    np.testing.assert_allclose(found, data, atol=1e-4)
    np.testing.assert_array_equal(share, 0.25)


def test_the_ancestral_sampler_runs_on_it_and_padding_reaches_no_position(params):
    schedule = noise_levels.squared_cosine(20)
    plan = ancestral.plan(noise_levels.respaced(schedule, 4))
    row_keys = keys.example_keys(jax.random.key(4), jnp.arange(3))
    scale_at = diffusion_predict.everywhere(1.5)
    # Small outputs: the predicted noise of random parameters would be far off.
    final = jax.tree.map(lambda leaf: 0.1 * leaf, params["final"])
    small = params | {"final": final}

    @jax.jit
    def sample(noise):
        run = diffusion_predict.guided(NETWORK, small, tiny.SPACE, LABELS, scale_at, IS_VALID)
        denoise = diffusion_predict.denoise_with_share(run, schedule)
        return ancestral.sample(row_keys, denoise, noise, plan)

    noise = jax.random.normal(jax.random.key(5), (3, tiny.LENGTH, CHANNELS))
    base = sample(noise)
    assert np.isfinite(base).all()
    other = sample(jnp.where(IS_VALID[..., None], noise, 7.0))
    np.testing.assert_array_equal(base[IS_VALID], other[IS_VALID])
    assert np.any(base[~IS_VALID] != other[~IS_VALID])
