"""Laws of the flow head: units, Euler's path, and that it learns a density no Gaussian is."""

import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.core import keys
from resgen_jax.generators import flow_head
from resgen_jax.nn import functional
from resgen_jax.processes import rvq_masking
from resgen_jax.training import optimizer as optimizers

SPEC = flow_head.Spec(width=32, num_blocks=2, num_steps=16)


def test_moments_are_those_of_sums_of_random_codes():
    random = np.random.default_rng(0)
    codebooks = random.normal(1, 1, (3, 16, 4)) * np.array([4, 2, 1])[:, None, None]
    is_masked = np.array([[[0, 1, 1], [1, 1, 1], [0, 0, 1], [1, 0, 0]]], bool)
    mean, deviation = flow_head.moments(jnp.asarray(is_masked), jnp.asarray(codebooks, jnp.float32))
    codes = random.integers(0, 16, (20_000, 4, 3))
    vectors = codebooks[np.arange(3), codes]
    sums = (vectors * is_masked[0, :, :, None]).sum(2)
    np.testing.assert_allclose(mean[0], sums.mean(0), atol=0.15)
    np.testing.assert_allclose(deviation[0], np.sqrt(sums.var(0).mean(-1)), rtol=0.03)


def test_euler_along_a_straight_path_arrives_where_it_points():
    """A velocity of noise - data that does not change brings every noise to its datum exactly."""
    network = functional.from_module(lambda rngs: flow_head.FlowHead(SPEC, 8, 4, jnp.float32, rngs))
    params = network.init(jax.random.key(0))
    noise = jax.random.normal(jax.random.key(1), (2, 3, 4))
    target = jax.random.normal(jax.random.key(2), (2, 3, 4))
    seen = []

    def guided(velocity, vectors, times):
        del velocity
        seen.append(vectors.shape)
        assert times.shape == (2, 3)
        return noise - target

    found = network.apply(params, noise, guided, method="integrate")
    np.testing.assert_allclose(found, target, atol=1e-5)
    assert seen == [(2, 3, 4)]  # one trace, whatever the number of steps


def test_it_learns_two_modes_that_depend_on_the_state():
    """Data at +-(1 + state) in both channels at once: two points no single Gaussian has."""
    network = functional.from_module(lambda rngs: flow_head.FlowHead(SPEC, 1, 2, jnp.float32, rngs))
    optimizer = optimizers.make(optimizers.Spec(learning_rate=3e-3, warmup_steps=0), 600)

    def data(key):
        use = keys.named_keys(key, "sign", "state", "time", "noise")
        state = jax.random.bernoulli(use["state"], shape=(256, 1, 1)).astype(jnp.float32)
        sign = jax.random.rademacher(use["sign"], (256, 1, 1), jnp.float32)
        time = jax.random.uniform(use["time"], (256, 1))
        noise = jax.random.normal(use["noise"], (256, 1, 2))
        return state, jnp.broadcast_to(sign * (1 + state), noise.shape), time, noise

    @jax.jit
    def train(params):
        def step(carry, number):
            params, state = carry

            def loss(params):
                told, vectors, time, noise = data(keys.step_key(jax.random.key(5), number))
                between = (1 - time[..., None]) * vectors + time[..., None] * noise
                return jnp.mean((network.apply(params, told, between, time) - noise + vectors) ** 2)

            with jax.numpy_dtype_promotion("standard"):
                updates, state = optimizer.update(jax.grad(loss)(params), state, params)
            return (jax.tree.map(jnp.add, params, updates), state), None

        start = params, optimizer.init(params)
        return jax.lax.scan(step, start, jnp.arange(600))[0][0]

    params = train(network.init(jax.random.key(0)))
    for state in (0.0, 1.0):
        told = jnp.full((200, 1, 1), state)
        noise = jax.random.normal(jax.random.key(7), (200, 1, 2))
        found = network.apply(
            params,
            noise,
            lambda velocity, vectors, times, told=told: velocity(told, vectors, times),
            method="integrate",
        )
        sign = np.sign(np.asarray(found))
        np.testing.assert_allclose(np.mean(sign[..., 0] == sign[..., 1]), 1, atol=0.05)
        np.testing.assert_allclose(np.abs(found).mean(), 1 + state, atol=0.25)
        assert 0.3 < np.mean(sign > 0) < 0.7


def test_a_mask_of_nothing_has_no_deviation_but_a_finite_one():
    nothing = jnp.zeros((1, 2, 3), bool)
    codebooks = jnp.ones((3, 4, 2)).at[0].set(2.0)
    mean, deviation = flow_head.moments(nothing, codebooks)
    assert np.all(mean == 0)
    assert np.all((deviation > 0) & np.isfinite(deviation))
    target = rvq_masking.masked_embedding(jnp.zeros((1, 2, 3), jnp.int32), nothing, codebooks)
    assert np.all(target == 0)
