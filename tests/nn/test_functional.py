"""Laws of networks as pure functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from resgen_jax.nn import functional

WIDTH, NUM_LAYERS = 6, 3


def annotated(*axes):
    return nnx.with_partitioning(nnx.initializers.lecun_normal(), axes)


class Block(nnx.Module):
    def __init__(self, rngs):
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, kernel_init=annotated("embed", "mlp"), rngs=rngs)
        self.down = nnx.Linear(
            4 * WIDTH, WIDTH, kernel_init=annotated("mlp", "embed"), use_bias=False, rngs=rngs
        )

    def __call__(self, x):
        return x + self.down(jax.nn.gelu(self.up(x)))


class Stack(nnx.Module):
    """Stacked layers, a list of layers and a scalar: every container a network may use."""

    def __init__(self, rngs):
        self.blocks = nnx.vmap(
            Block, in_axes=0, out_axes=0, transform_metadata={nnx.PARTITION_NAME: "layers"}
        )(rngs.split(NUM_LAYERS))
        # Twelve, so that "10" sorts before "2" as a string.
        self.heads = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(12)])
        self.gain = nnx.Param(jnp.float32(2))

    def __call__(self, x):
        definition, weights = nnx.split(self.blocks)
        body = jax.checkpoint(lambda x, w: (nnx.merge(definition, w)(x), None))
        x, _ = jax.lax.scan(body, x, weights)
        return self.gain[...] * self.head(x, which=3)

    def head(self, x, *, which):
        return self.heads[which](x)


@pytest.fixture
def network():
    return functional.from_module(Stack)


@pytest.fixture
def x():
    return jax.random.normal(jax.random.key(1), (5, WIDTH))


def test_apply_equals_the_module_itself(network, key, x):
    expected = Stack(nnx.Rngs(key))(x)
    np.testing.assert_allclose(jax.jit(network.apply)(network.init(key), x), expected, atol=1e-6)


def test_apply_equals_a_hand_written_loop(network, key, x):
    params = jax.tree.map(np.asarray, network.init(key))
    blocks, head = params["blocks"], params["heads"]["3"]
    expected = np.asarray(x)
    for layer in range(NUM_LAYERS):
        hidden = expected @ blocks["up"]["kernel"][layer] + blocks["up"]["bias"][layer]
        expected = expected + np.asarray(jax.nn.gelu(hidden)) @ blocks["down"]["kernel"][layer]
    expected = params["gain"] * (expected @ head["kernel"] + head["bias"])
    np.testing.assert_allclose(network.apply(network.init(key), x), expected, atol=1e-5)


def test_every_head_gets_its_own_parameters(network, key, x):
    params = network.init(key)
    for which in range(12):
        kernel = params["heads"][str(which)]["kernel"]
        out = network.apply(params, x, method="head", which=which)
        np.testing.assert_allclose(out, x @ kernel, atol=1e-6)


def test_params_are_plain_dicts_with_string_keys(network, key):
    def check(node):
        if isinstance(node, dict):
            assert type(node) is dict
            assert all(type(name) is str for name in node)
            for child in node.values():
                check(child)
        else:
            assert isinstance(node, jax.Array)
            assert node.dtype == jnp.float32

    check(network.init(key))


def test_the_same_key_gives_the_same_parameters_under_jit(network, key):
    eager, jitted = network.init(key), jax.jit(network.init)(key)
    jax.tree.map(np.testing.assert_array_equal, eager, jitted)
    other = network.init(jax.random.key(1))
    assert np.any(eager["heads"]["0"]["kernel"] != other["heads"]["0"]["kernel"])


def test_axes_name_each_dimension(network, key):
    abstract = jax.eval_shape(network.init, key)
    jax.tree.map(
        lambda leaf, axes: None if len(axes) == leaf.ndim else pytest.fail(f"{leaf} {axes}"),
        abstract,
        network.axes,
    )
    assert network.axes["blocks"]["up"]["kernel"] == ("layers", "embed", "mlp")
    assert network.axes["blocks"]["down"]["kernel"] == ("layers", "mlp", "embed")
    assert network.axes["heads"]["0"]["kernel"] == (None, None)
    assert network.axes["gain"] == ()


def test_apply_works_abstractly_and_has_gradients_everywhere(network, key, x):
    params = network.init(key)
    assert jax.eval_shape(network.apply, params, x).shape == x.shape
    gradients = jax.grad(lambda p: jnp.sum(network.apply(p, x) ** 2))(params)
    assert all(np.all(np.isfinite(leaf)) for leaf in jax.tree.leaves(gradients))
    assert np.any(gradients["blocks"]["up"]["kernel"] != 0)


def test_other_state_is_refused():
    with pytest.raises(ValueError, match=r"mean.*BatchStat"):
        functional.from_module(lambda rngs: nnx.BatchNorm(WIDTH, rngs=rngs))
    with pytest.raises(ValueError, match="no parameter"):
        functional.from_module(lambda rngs: nnx.Dropout(0.5, rngs=rngs))


def test_an_annotation_that_misses_a_dimension_is_refused():
    def make(rngs):
        return nnx.Linear(WIDTH, WIDTH, kernel_init=annotated("embed"), rngs=rngs)

    with pytest.raises(ValueError, match=r"kernel.*axes"):
        functional.from_module(make)
