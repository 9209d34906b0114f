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
