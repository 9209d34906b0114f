"""EfficientNet-Lite0: the published size, and what it makes of images."""

import jax
import jax.numpy as jnp

from resgen_jax.core import trees
from resgen_jax.features import efficientnet_lite


def test_the_network_has_the_published_size(key):
    network = efficientnet_lite.make()
    params = jax.eval_shape(network.init, key)
    # 4,652,008 as published; batch normalisation has 42,016 numbers twice, of which a bias for each
    # channel is left, in place of scale and bias.
    channels = sum(
        leaf.shape[0]
        for name, leaf in trees.named_leaves(params).items()
        if name.endswith("bias") and not name.startswith("logits")
    )
    assert channels == 21_008
    assert trees.num_parameters(params) == 4_652_008 - channels
    assert len(jax.tree.leaves(params)) == 2 * (1 + 3 * 16 - 1 + 1 + 1)
    images = jax.ShapeDtypeStruct((2, 64, 48, 3), jnp.float32)
    outputs = jax.eval_shape(network.apply, params, images)
    assert outputs.features.shape == (2, network.num_features)
    assert outputs.logits.shape == (2, 1000)
    assert outputs.spatial is None
    assert network.distance_name == "FD-efficientnet"


def test_maps_shrink_by_32_as_in_the_table_of_the_paper():
    strides = [block.stride for block in efficientnet_lite.BLOCKS]
    assert len(strides) == 16
    assert 2 * 2 ** strides.count(2) == 32
    assert [block.side for block in efficientnet_lite.BLOCKS].count(5) == 2 + 3 + 4
