"""MobileNetV2 from numbered layers: each in its place, other networks refused."""

import numpy as np
import published_weights
import pytest

from resgen_jax.convert import mobilenet as files
from resgen_jax.core import errors


@pytest.fixture(scope="module")
def published():
    return published_weights.mobilenet_layers()


def test_every_array_lands_in_its_place(published):
    params = files.convert(published, where="here")
    # 00 stem; 01, 02 the first block, which does not widen; then three for each of 16 blocks.
    np.testing.assert_array_equal(params["blocks"]["0"]["depthwise"]["kernel"], published["01_w"])
    np.testing.assert_array_equal(params["blocks"]["1"]["expand"]["kernel"], published["03_w"])
    np.testing.assert_array_equal(params["blocks"]["16"]["project"]["bias"], published["50_b"])
    np.testing.assert_array_equal(params["head"]["kernel"], published["51_w"])
    np.testing.assert_array_equal(params["logits"]["bias"], published["52_b"])
    assert published["01_cfg"].tolist() == [1, 1, 1]
    assert published["04_cfg"].tolist() == [1, 2, 1]


def test_layers_that_are_said_to_be_others_are_named(published):
    arrays = {**published, "04_cfg": np.array([1, 1, 1]), "50_cfg": np.array([0, 1, 1])}
    with pytest.raises(errors.UserError, match="not MobileNetV2 1.0, by 04_cfg, 50_cfg"):
        files.convert(arrays, where="the file")


def test_another_width_is_named(published):
    arrays = {**published, "51_w": np.zeros((1, 1, 320, 1792), np.float32)}
    with pytest.raises(errors.UserError, match=r"head/kernel is \(1, 1, 320, 1792\)"):
        files.convert(arrays, where="the file")


def test_the_published_layout_names_what_is_missing():
    """Its values are compared in tests/parity."""
    arrays = {"mobilenet_v2.layer.3.expand_1x1.convolution.weight": np.zeros((3, 3), np.float32)}
    with pytest.raises(errors.UserError) as failure:
        files.convert(arrays, where="the file")
    for part in (
        "missing: classifier.bias, classifier.weight, mobilenet_v2.conv_1x1.convolution.weight",
        "mobilenet_v2.layer.3.expand_1x1.convolution.weight (has 2 dimensions, expected 4)",
    ):
        assert part in str(failure.value)
