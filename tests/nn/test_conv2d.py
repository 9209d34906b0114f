"""Laws of the convolutional blocks, against NumPy loops over the taps of a kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import pytest
from flax import nnx

from resgen_jax.nn import conv2d, functional


def convolve(values, kernel, bias, before, after, stride=1):
    """Sum over the taps of shifted and padded maps, in float64."""
    values, kernel = np.asarray(values, np.float64), np.asarray(kernel, np.float64)
    padded = np.pad(values, ((0, 0), (before, after), (before, after), (0, 0)))
    size = len(kernel)
    height, width = ((side - size) // stride + 1 for side in padded.shape[1:3])
    total = np.zeros((len(values), height, width, kernel.shape[-1])) + np.asarray(bias, np.float64)
    for row in range(size):
        for column in range(size):
            window = padded[:, row:, column:][:, ::stride, ::stride][:, :height, :width]
            total += window @ kernel[row, column]
    return total


def random_params(network):
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(size=leaf.shape), jnp.float32), shapes
    )


def maps(*shape):
    return jnp.asarray(np.random.default_rng(1).normal(size=shape), jnp.float32)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("shape", [(2, 2), (1, 5), (6, 6)])
def test_every_path_is_the_same_convolution(size, shape):
    network = functional.from_module(lambda rngs: conv2d.conv(3, 4, size, rngs))
    params, values = random_params(network), maps(2, *shape, 3)
    outputs = jax.jit(network.apply)(params, values)
    expected = convolve(values, params["kernel"], params["bias"], (size - 1) // 2, size // 2)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


def test_small_maps_take_one_matmul():
    network = functional.from_module(lambda rngs: conv2d.conv(3, 4, 3, rngs))
    params = random_params(network)

    def primitives(side):
        jaxpr = jax.make_jaxpr(network.apply)(params, maps(2, side, side, 3)).pretty_print()
        return "dot_general" in jaxpr, "conv_general_dilated" in jaxpr

    assert primitives(2) == (True, False)
    assert primitives(3) == (False, True)


@pytest.mark.parametrize("side", [2, 8])
def test_downsampling_halves_and_pads_below_and_right(side):
    network = functional.from_module(lambda rngs: conv2d.Downsample(4, rngs))
    params, values = random_params(network), maps(2, side, side, 4)
    inner = params["conv"]
    expected = convolve(values, inner["kernel"], inner["bias"], 0, 1, stride=2)
    outputs = network.apply(params, values)
    assert outputs.shape == (2, side // 2, side // 2, 4)
    np.testing.assert_allclose(outputs, expected, rtol=1e-4, atol=1e-4)


def test_upsampling_doubles_and_then_convolves():
    network = functional.from_module(lambda rngs: conv2d.Upsample(4, rngs))
    params, values = random_params(network), maps(2, 2, 3, 4)
    inner = params["conv"]
    doubled = np.kron(np.asarray(values), np.ones((1, 2, 2, 1)))
    outputs = network.apply(params, values)
    assert outputs.shape == (2, 4, 6, 4)
    np.testing.assert_allclose(
        outputs, convolve(doubled, inner["kernel"], inner["bias"], 1, 1), rtol=1e-4, atol=1e-4
    )


@pytest.mark.parametrize("out_channels", [8, 12])
def test_a_residual_block_starts_as_its_skip(out_channels, key):
    network = functional.from_module(lambda rngs: conv2d.ResidualBlock(8, out_channels, rngs))
    params, values = jax.jit(network.init)(key), maps(2, 4, 4, 8)
    outputs = jax.jit(network.apply)(params, values)
    if out_channels == 8:
        np.testing.assert_array_equal(outputs, values)
    else:
        kernel = params["skip"]["kernel"][0, 0]
        np.testing.assert_allclose(outputs, np.asarray(values) @ np.asarray(kernel), atol=1e-5)
    changed = jax.jit(network.apply)(random_params(network), values)
    assert np.max(np.abs(changed - outputs)) > 0.1


@pytest.fixture(scope="module", params=sorted(conv2d.ATTENTIONS))
def attention(request):
    block = conv2d.ATTENTIONS[request.param]
    return functional.from_module(lambda rngs: block(4, rngs))


def test_attention_starts_as_the_identity(attention, key):
    values = maps(2, 2, 3, 4)
    np.testing.assert_array_equal(attention.apply(attention.init(key), values), values)


def test_attention_is_over_all_places(attention):
    params, values = random_params(attention), maps(2, 2, 3, 4)
    flat = np.asarray(values, np.float64).reshape(2, 6, 4)
    # One group of all four channels, normalised over the whole map.
    mean, variance = flat.mean(axis=(1, 2), keepdims=True), flat.var(axis=(1, 2), keepdims=True)
    layers = numpy_networks.double(params)
    normed = (flat - mean) / np.sqrt(variance + 1e-6) * layers["norm"]["scale"]
    normed = normed + layers["norm"]["bias"]

    def project(layer):
        return normed @ layer["kernel"][0, 0] + layer["bias"]

    if "project" in layers:
        query, keys, mixed = np.split(project(layers["project"]), 3, axis=-1)
    else:
        query, keys, mixed = (project(layers[name]) for name in ("query", "key", "value"))
    weight = numpy_networks.softmax(query @ keys.swapaxes(1, 2) / 2)
    expected = flat + (weight @ mixed) @ layers["out"]["kernel"][0, 0] + layers["out"]["bias"]
    outputs = attention.apply(params, values)
    np.testing.assert_allclose(outputs.reshape(2, 6, 4), expected, rtol=1e-3, atol=1e-3)


def test_blocks_in_half_precision_stay_near_and_keep_their_type():
    exact = functional.from_module(lambda rngs: conv2d.ResidualBlock(8, 12, rngs))
    half = functional.from_module(lambda rngs: conv2d.ResidualBlock(8, 12, rngs, jnp.bfloat16))
    params, values = random_params(exact), maps(2, 4, 4, 8)
    outputs = half.apply(params, values.astype(jnp.bfloat16))
    assert outputs.dtype == jnp.bfloat16
    expected = np.asarray(exact.apply(params, values))
    error = np.abs(outputs.astype(jnp.float32) - expected).max()
    assert 0 < error < 0.05 * np.abs(expected).max()


@pytest.mark.parametrize(
    ("channels", "num_groups"), [(3, 1), (4, 1), (8, 2), (12, 3), (20, 5), (128, 32), (256, 32)]
)
def test_groups_have_at_least_four_channels_and_divide_them(channels, num_groups):
    assert conv2d.group_norm(channels, nnx.Rngs(0)).num_groups == num_groups


def test_kernels_name_their_channels():
    network = functional.from_module(lambda rngs: conv2d.conv(3, 4, 3, rngs))
    assert network.axes == {"kernel": (None, None, "embed", "mlp"), "bias": ("mlp",)}
