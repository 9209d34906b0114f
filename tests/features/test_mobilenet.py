"""Laws of MobileNetV2: the published size and table."""

import jax
import jax.numpy as jnp
import numpy as np

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


def test_blocks_follow_the_table_of_the_paper():
    strides = [block.stride for block in mobilenet.BLOCKS]
    assert len(strides) == 17
    assert np.prod(strides) * 2 == 32
    for block, following in zip(mobilenet.BLOCKS, mobilenet.BLOCKS[1:], strict=False):
        assert block.out_dim == following.in_dim
