"""The block of MobileNetV2 and EfficientNet-Lite: its cheap filters, and the whole by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.features import inverted_residual, layers


@pytest.mark.parametrize(("stride", "size"), [(1, 3), (2, 3), (1, 5), (2, 5)])
@pytest.mark.parametrize("side", [7, 8])
def test_shifted_sums_are_the_grouped_convolution(stride, size, side):
    random = np.random.default_rng(0)
    values = jnp.asarray(random.normal(size=(2, side, side + 1, 5)), jnp.float32)
    params = {
        "kernel": jnp.asarray(random.normal(size=(size, size, 1, 5)), jnp.float32),
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
    found = inverted_residual.filter_channels(params, values, stride)
    np.testing.assert_allclose(
        found, expected + params["bias"][None, None, None, :], rtol=1e-5, atol=1e-5
    )


def by_hand(params, values, stride):
    """Place by place and channel by channel, in float64."""

    def dense(part, rows):
        return rows @ np.float64(part["kernel"][0, 0]) + np.float64(part["bias"])

    hidden = np.clip(dense(params["expand"], np.float64(values)), 0, 6)
    kernel = np.float64(params["depthwise"]["kernel"])[:, :, 0]
    size = len(kernel)
    sides = [-(-side // stride) for side in hidden.shape[1:3]]
    missing = [
        max((count - 1) * stride + size - side, 0)
        for count, side in zip(sides, hidden.shape[1:3], strict=True)
    ]
    # TensorFlow's SAME: where the padding is odd, the larger half comes after.
    padding = [(total // 2, total - total // 2) for total in missing]
    padded = np.pad(hidden, ((0, 0), *padding, (0, 0)))
    filtered = np.zeros((len(values), *sides, hidden.shape[-1]))
    for row, column in np.ndindex(*sides):
        top, left = row * stride, column * stride
        seen = padded[:, top : top + size, left : left + size]
        filtered[:, row, column] = (seen * kernel).sum(axis=(1, 2))
    filtered = np.clip(filtered + np.float64(params["depthwise"]["bias"]), 0, 6)
    outputs = dense(params["project"], filtered)
    return outputs + values if outputs.shape == values.shape else outputs


@pytest.mark.parametrize(
    "block",
    [
        inverted_residual.Block(in_dim=3, expansion=6, out_dim=3, stride=1, side=5),
        inverted_residual.Block(in_dim=3, expansion=2, out_dim=3, stride=2, side=5),
        inverted_residual.Block(in_dim=3, expansion=2, out_dim=4, stride=1, side=3),
    ],
)
def test_a_block_is_what_it_is_by_hand(key, block):
    params = layers.init(inverted_residual.shapes(block), key)
    keys = iter(jax.random.split(key, 9))
    params = jax.tree.map(
        lambda leaf: leaf if leaf.ndim > 1 else jax.random.normal(next(keys), leaf.shape), params
    )
    values = 2 * jax.random.normal(key, (2, 7, 6, 3))
    found = inverted_residual.apply(params, values, block.stride)
    expected = by_hand(jax.device_get(params), np.asarray(values), block.stride)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


def test_a_block_that_widens_by_1_has_nothing_to_widen():
    block = inverted_residual.Block(in_dim=3, expansion=1, out_dim=2, stride=1, side=3)
    assert set(inverted_residual.shapes(block)) == {"depthwise", "project"}


def test_only_the_first_block_of_a_stage_strides():
    stages = [inverted_residual.Stage(3, 1, 8, 1, 1), inverted_residual.Stage(5, 6, 12, 3, 2)]
    found = inverted_residual.blocks(stages, 4)
    assert [block.stride for block in found] == [1, 2, 1, 1]
    assert [(block.in_dim, block.out_dim) for block in found] == [
        (4, 8),
        (8, 12),
        (12, 12),
        (12, 12),
    ]
