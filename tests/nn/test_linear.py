"""Laws of dense layers and tables."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from resgen_jax.nn import functional, linear


class Pair(nnx.Module):
    def __init__(self, rngs):
        self.dense = linear.dense(4, 6, ("embed", "mlp"), jnp.bfloat16, rngs)
        self.table = linear.table((3, 4), (None, "embed"), linear.normal(0.5), rngs)

    def __call__(self, index):
        return self.dense(self.table[...][index])


def test_parameters_are_float32_and_the_matmul_is_not(key):
    network = functional.from_module(Pair)
    params = network.init(key)
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {jnp.dtype("float32")}
    outputs = network.apply(params, jnp.array([2, 0]))
    assert outputs.dtype == jnp.bfloat16
    exact = params["table"][jnp.array([2, 0])] @ params["dense"]["kernel"]
    np.testing.assert_allclose(outputs.astype(jnp.float32), exact, atol=0.05)
    assert network.axes == {
        "dense": {"kernel": ("embed", "mlp"), "bias": ("mlp",)},
        "table": (None, "embed"),
    }


class Heads(nnx.Module):
    def __init__(self, rngs):
        self.wide = linear.dense_to_float32(64, 6, ("embed", "mlp"), jnp.bfloat16, rngs)
        self.exact = linear.dense_exact(64, 6, ("embed", None), rngs)

    def __call__(self, values):
        return self.wide(values), self.exact(values)


def rounded(values):
    return np.asarray(values.astype(jnp.bfloat16), np.float64)


def test_what_decides_is_not_rounded_behind_the_matmul(key):
    network = functional.from_module(Heads)
    params = jax.tree.map(lambda leaf: leaf + 0.123, network.init(key))
    values = jax.random.normal(key, (5, 64))
    wide, exact = network.apply(params, values)
    assert wide.dtype == exact.dtype == jnp.float32
    expected = rounded(values) @ rounded(params["wide"]["kernel"]) + 0.123
    np.testing.assert_allclose(wide, expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(
        exact, values @ params["exact"]["kernel"] + 0.123, rtol=1e-5, atol=1e-5
    )
    gradient = jax.jit(jax.grad(lambda params: sum(x.sum() for x in network.apply(params, values))))
    np.testing.assert_allclose(
        gradient(params)["wide"]["kernel"],
        np.broadcast_to(rounded(values).sum(axis=0)[:, None], (64, 6)),
        atol=0.1,
    )


def test_an_exact_layer_says_so_to_the_hardware(key):
    network = functional.from_module(Heads)
    text = str(jax.make_jaxpr(network.apply)(network.init(key), jnp.ones((5, 64))))
    assert text.count("HIGHEST") == 2  # for each side of the one matmul


def test_normal_has_the_deviation_it_was_given(key):
    np.testing.assert_allclose(np.std(linear.normal(0.3)(key, (100, 100))), 0.3, rtol=0.05)


def test_the_matmul_has_the_gradients_of_a_plain_product(key):
    use = jax.random.split(key, 3)
    values, kernel = jax.random.normal(use[0], (2, 3, 4)), jax.random.normal(use[1], (4, 5))
    weight = jax.random.normal(use[2], (2, 3, 5))

    def gradients(product):
        return jax.grad(lambda *inputs: jnp.sum(weight * product(*inputs) ** 2), (0, 1))(
            values, kernel
        )

    for got, want in zip(gradients(linear.matmul), gradients(lambda a, b: a @ b), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_even_weights_fill_their_bounds_and_biases_may_too(key):
    bound = 1 / np.sqrt(64)
    init = {"init": linear.even(bound), "bias_init": linear.even(bound)}

    def make(rngs):
        return nnx.List(
            make(64, 500, ("embed", "mlp"), jnp.float32, rngs, **init)
            for make in (linear.dense, linear.dense_to_float32)
        )

    for params in functional.from_module(make).init(key).values():
        for leaf in params.values():
            assert 0.98 * bound < np.max(leaf) <= bound
            assert -0.98 * bound > np.min(leaf) >= -bound
            np.testing.assert_allclose(np.std(leaf), bound / np.sqrt(3), rtol=0.05)
