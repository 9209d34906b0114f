"""Laws of MobileNetV2: the published size, and its cheap form of a filter for each channel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import trees
from resgen_jax.features import mobilenet


def test_the_network_has_the_published_size(key):
    network = mobilenet.make()
    params = jax.eval_shape(network.init, key)
    # 3,504,872 as published with 1,000 classes; batch normalisation has 34,112 numbers twice, of
    # which a bias for each channel is left, and the class for anything else adds 1,281.
    assert trees.num_parameters(params) == 3_504_872 - 34_112 // 2 + 1_281
    assert len(jax.tree.leaves(params)) == 2 * 53
    images = jax.ShapeDtypeStruct((2, 64, 48, 3), jnp.float32)
    outputs = jax.eval_shape(network.apply, params, images)
    assert outputs.features.shape == (2, network.num_features)
    assert outputs.logits.shape == (2, 1001)
    assert outputs.spatial is None
    assert network.distance_name == "FD-mobilenet"


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("side", [7, 8])
def test_shifted_sums_are_the_grouped_convolution(stride, side):
    random = np.random.default_rng(0)
    values = jnp.asarray(random.normal(size=(2, side, side + 1, 5)), jnp.float32)
    params = {
        "kernel": jnp.asarray(random.normal(size=(3, 3, 1, 5)), jnp.float32),
        "bias": jnp.asarray(random.normal(size=5), jnp.float32),
    }
    expected = jax.lax.conv_general_dilated(
        values,
        params["kernel"],
        (stride, stride),
        "SAME",
        dimension_numbers=("NHWC", "HWIO", "NHWC"),
        feature_group_count=5,
    )
    found = mobilenet._filter_channels(params, values, stride)
    np.testing.assert_allclose(
        found, expected + params["bias"][None, None, None, :], rtol=1e-5, atol=1e-5
    )


def test_blocks_follow_the_table_of_the_paper():
    strides = [stride for *_, stride in mobilenet.BLOCKS]
    assert len(strides) == 17
    assert np.prod(strides) * 2 == 32
    for (*_, out_dim, _), (in_dim, *_) in zip(mobilenet.BLOCKS, mobilenet.BLOCKS[1:], strict=False):
        assert out_dim == in_dim
