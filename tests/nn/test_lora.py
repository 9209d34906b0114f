"""Laws of low-rank adapters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, trees
from resgen_jax.nn import functional, lora, vit

SPEC = vit.Spec(num_layers=2, width=8, num_heads=2, mlp_ratio=2, remat="none")
NETWORK = functional.from_module(lambda rngs: vit.Vit(SPEC, 3, rngs))
KERNELS = {"blocks/up/kernel", "blocks/down/kernel"}


@pytest.fixture(scope="module")
def params():
    start = NETWORK.init(jax.random.key(0))
    return jax.tree.map(lambda leaf: leaf + 0.1, start)


@pytest.fixture(scope="module")
def adapters(params):
    return lora.init(jax.random.key(1), params, lora.is_mlp_kernel, 3)


def test_the_start_changes_nothing_and_has_an_adapter_for_each_mlp_kernel(params, adapters):
    assert adapters.keys() == KERNELS
    same = lora.merged(params, adapters)
    jax.tree.map(np.testing.assert_array_equal, same, params)
    down = adapters["blocks/down/kernel"]["down"]
    assert down.shape == (2, 16, 3)
    assert 0.9 / 4 < np.max(np.abs(down)) <= 1 / 4
    assert np.all(down[0] != down[1])
    other = lora.init(jax.random.key(1), params, lambda name: name == "blocks/down/kernel", 3)
    np.testing.assert_array_equal(other["blocks/down/kernel"]["down"], down)


def test_what_is_added_is_the_scaled_product_of_each_layer(params, adapters):
    opened = jax.tree.map(lambda leaf: leaf + 0.3, adapters)
    found = trees.named_leaves(lora.merged(params, opened, 0.5))
    for name, leaf in trees.named_leaves(params).items():
        wanted = np.asarray(leaf, np.float64)
        if name in KERNELS:
            pair = (np.asarray(opened[name][side], np.float64) for side in ("down", "up"))
            wanted = wanted + [0.5 * down @ up for down, up in zip(*pair, strict=True)]
        np.testing.assert_allclose(found[name], wanted, atol=1e-6)


def test_gradients_move_what_begins_as_zeros_first(params, adapters):
    tokens = jax.random.normal(jax.random.key(2), (2, 3, 8))

    def loss(adapters):
        hidden = NETWORK.apply(lora.merged(params, adapters), tokens, tokens)
        return jnp.sum(jnp.sin(hidden))

    gradient = jax.jit(jax.grad(loss))
    for pair in gradient(adapters).values():
        np.testing.assert_array_equal(pair["down"], 0)
        assert np.all(np.max(np.abs(pair["up"]), axis=(1, 2)) > 1e-4)
    opened = jax.tree.map(lambda leaf: jax.random.normal(jax.random.key(3), leaf.shape), adapters)
    for pair in gradient(opened).values():
        assert np.all(np.max(np.abs(pair["down"]), axis=(1, 2)) > 1e-4)


def test_axes_are_those_of_the_kernels(adapters):
    assert lora.axes(NETWORK.axes, adapters) == {
        "blocks/up/kernel": {
            "down": ("layers", "embed", None),
            "up": ("layers", None, "mlp"),
        },
        "blocks/down/kernel": {
            "down": ("layers", "mlp", None),
            "up": ("layers", None, "embed"),
        },
    }


def test_what_cannot_be_adapted_is_refused(params, adapters):
    key = jax.random.key(0)
    with pytest.raises(errors.UserError, match="rank is 0; expected at least 1"):
        lora.init(key, params, lora.is_mlp_kernel, 0)
    with pytest.raises(errors.UserError, match="none of .* parameters is to be adapted"):
        lora.init(key, params, lambda name: False)
    with pytest.raises(errors.UserError, match=r"class_token is of shape \(8,\); expected a ker"):
        lora.init(key, params, lambda name: name == "class_token")
    with pytest.raises(errors.UserError, match="an adapter of blocks/down/kernel, which the para"):
        lora.merged({"norm": params["norm"]}, adapters)
