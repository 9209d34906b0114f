"""Laws of the plain vision transformer."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import numpy_vit
import pytest

from resgen_jax.core import errors, trees
from resgen_jax.nn import functional, vit

SPEC = vit.Spec(num_layers=2, width=8, num_heads=2, mlp_ratio=3, remat="none")
NUM_TOKENS, NUM_OTHERS = 4, 3


def network(spec, num_tokens=NUM_TOKENS):
    return functional.from_module(lambda rngs: vit.Vit(spec, num_tokens, rngs))


def draw(*shape, seed=0, deviation=1.0):
    drawn = np.random.default_rng(seed).normal(0, deviation, shape)
    return jnp.asarray(drawn, jnp.float32)


@pytest.fixture(scope="module")
def params():
    """Of every size, so that each of them tells."""
    shapes = jax.eval_shape(network(SPEC).init, jax.random.key(0))
    leaves, structure = jax.tree.flatten(shapes)
    drawn = [draw(*leaf.shape, seed=seed, deviation=0.4) for seed, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, drawn)


@pytest.fixture(scope="module")
def inputs():
    return draw(2, NUM_TOKENS, 8, seed=100), draw(2, NUM_OTHERS, 8, seed=101)


@pytest.fixture(scope="module")
def outputs(params, inputs):
    return np.asarray(jax.jit(network(SPEC).apply)(params, *inputs))


def test_it_equals_a_numpy_loop(params, inputs, outputs):
    wide = (np.asarray(each, np.float64) for each in inputs)
    wanted = numpy_vit.vit(numpy_networks.double(params), *wide, SPEC.num_heads)
    assert outputs.dtype == np.float32
    np.testing.assert_allclose(outputs, wanted, atol=2e-5)


@pytest.mark.parametrize(
    ("size", "expected"), [("s", 22_056_576), ("b", 86_580_480), ("l", 304_368_640)]
)
def test_a_published_size_has_its_parameters(size, expected):
    """DINOv2's, of 37 x 37 patches of 14 pixels, whose embedding and mask are not in it."""
    spec = vit.preset(size)
    shapes = jax.eval_shape(network(spec, 37 * 37).init, jax.random.key(0))
    embedding, mask = (14 * 14 * 3 + 1) * spec.width, spec.width
    assert trees.num_parameters(shapes) + embedding + mask == expected
    assert spec.width == 64 * spec.num_heads


def test_it_starts_as_published():
    spec = vit.Spec(num_layers=2, width=64, num_heads=2)
    start = network(spec, 50).init(jax.random.key(0))
    blocks = start["blocks"]
    kernels = [blocks["attention"][name]["kernel"] for name in ("query", "key", "value", "out")]
    for kernel in (*kernels, blocks["up"]["kernel"], blocks["down"]["kernel"], start["positions"]):
        np.testing.assert_allclose(np.std(kernel), 0.02, rtol=0.1)
    np.testing.assert_array_equal(blocks["attention_scale"], np.float32(1e-5))
    np.testing.assert_array_equal(blocks["mlp_scale"], np.float32(1e-5))
    np.testing.assert_array_equal(blocks["up"]["bias"], 0)
    np.testing.assert_array_equal(blocks["attention"]["out"]["bias"], 0)
    np.testing.assert_array_equal(start["norm"]["scale"], 1)
    np.testing.assert_allclose(np.std(start["class_token"]), 1e-6, rtol=0.4)
    assert np.all(kernels[0][0] != kernels[0][1])  # no layer is a copy of another


def test_what_bfloat16_layers_add_at_the_start_is_not_lost(inputs):
    """Scaled by 1e-5 it is less than bfloat16's last digit of what it is added to."""
    spec = dataclasses.replace(SPEC, compute_dtype="bfloat16")
    block = functional.from_module(lambda rngs: vit.Block(spec, rngs))
    start = block.init(jax.random.key(0))
    start["down"]["bias"] = jnp.ones_like(start["down"]["bias"])
    added = block.apply(start, inputs[0]) - inputs[0]
    assert added.dtype == jnp.float32
    np.testing.assert_allclose(added, 1e-5, atol=1e-6)


def test_a_gradient_reaches_every_parameter(params, inputs):
    def loss(params):
        return jnp.sum(jnp.sin(network(SPEC).apply(params, *inputs)))

    for name, leaf in trees.named_leaves(jax.jit(jax.grad(loss))(params)).items():
        # A bias of all keys moves all logits of a query alike: softmax does not see it.
        if name != "blocks/attention/key/bias":
            assert np.max(np.abs(leaf)) > 1e-3, name


def test_remat_changes_nothing_but_what_is_computed_again(params, inputs):
    def loss(remat):
        apply = network(dataclasses.replace(SPEC, remat=remat)).apply
        return jax.value_and_grad(lambda params: jnp.sum(jnp.sin(apply(params, *inputs))))

    assert "remat" not in str(jax.make_jaxpr(loss("none"))(params))
    assert "remat" in str(jax.make_jaxpr(loss("full"))(params))
    plain, again = (jax.jit(loss(remat))(params) for remat in ("none", "full"))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), again, plain)


def test_every_large_array_has_an_axis_to_be_spread_over():
    made = network(vit.preset("b"), 256)
    shapes = jax.eval_shape(made.init, jax.random.key(0))

    def see(leaf, names):
        assert (names[0] == "layers") == (leaf.shape[0] == 12)
        assert set(names) - {None, "layers"}

    jax.tree.map(see, shapes, made.axes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"width": 9}, "width 9 is not a multiple of num_heads 2; use 8"),
        ({"num_layers": 0}, "num_layers is 0; expected at least 1"),
        ({"mlp_ratio": 0}, "mlp_ratio is 0; expected at least 1"),
        ({"remat": "ful"}, "remat is 'ful'; did you mean 'full'"),
        ({"compute_dtype": "bfloat"}, "did you mean 'bfloat16'"),
    ],
)
def test_specs_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        dataclasses.replace(SPEC, **changes)


def test_an_unknown_size_is_refused():
    with pytest.raises(errors.UserError, match="size 'h' is unknown; known: b, l, s"):
        vit.preset("h")
