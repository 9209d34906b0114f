"""Causal layers: what each place may see, and the same values place by place."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.nn import attention, causal, functional

SPEC = causal.Spec(num_layers=3, width=8, num_heads=2, remat="none")


@pytest.fixture(scope="module")
def stack():
    return functional.from_module(lambda rngs: causal.Stack(SPEC, rngs))


@pytest.fixture(scope="module")
def params(stack):
    random = np.random.default_rng(0)
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.5, leaf.shape), jnp.float32),
        jax.eval_shape(stack.init, jax.random.key(0)),
    )


@pytest.fixture(scope="module")
def run(stack, params):
    return jax.jit(lambda values: stack.apply(params, values, None))


VALUES = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5, 8)), jnp.float32)


def test_a_place_sees_itself_and_those_before(run):
    moved = run(VALUES.at[:, 2].add(jnp.arange(8.0))) - run(VALUES)
    moved = np.abs(moved).max(axis=(0, 2))
    assert np.all(moved[:2] == 0)
    assert np.all(moved[2:] > 1e-3)


def test_place_by_place_the_values_are_those_of_the_whole(stack, params, run):
    """In a cache with room to spare, whose unwritten places hold nonsense."""
    cache = causal.empty_cache(SPEC, 2, 7)
    assert cache.keys.shape == (3, 2, 7, 2, 4)
    cache = jax.tree.map(lambda values: values + 1e9, cache)

    @jax.jit
    def by_place(values):
        def step(cache, inputs):
            value, place = inputs
            value, cache = stack.apply(params, value, cache, place, method="step")
            return cache, value

        inputs = jnp.swapaxes(values, 0, 1), jnp.arange(5)
        return jnp.swapaxes(jax.lax.scan(step, cache, inputs)[1], 0, 1)

    np.testing.assert_allclose(by_place(VALUES), run(VALUES), atol=1e-5)


def test_attention_is_the_mean_of_what_may_be_seen_by_hand():
    random = np.random.default_rng(2)
    query, key, value = np.float32(random.normal(size=(3, 1, 3, 1, 2)))
    may_attend = np.array([[1, 0, 0], [0, 1, 1], [1, 1, 0]], bool)
    found = attention.attend(*map(jnp.asarray, (query, key, value, may_attend[None])))
    weight = np.where(may_attend, np.exp(query[0, :, 0] @ key[0, :, 0].T / np.sqrt(2)), 0)
    expected = weight / weight.sum(axis=1, keepdims=True) @ value[0, :, 0]
    np.testing.assert_allclose(found[0, :, 0], expected, rtol=1e-5)
