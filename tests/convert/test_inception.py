"""The FID's Inception from pytorch-fid's names; the values are compared in tests/parity."""

import numpy as np
import published_weights
import pytest

from resgen_jax.convert import inception as files
from resgen_jax.core import errors


@pytest.fixture(scope="module")
def published():
    return published_weights.inception_port()


def test_every_array_lands_in_its_place(published):
    assert len(published) == 94 * 5 + 2
    counters = {"Mixed_7c.branch1x1.bn.num_batches_tracked": np.array(0)}
    params = files.convert({**published, **counters}, where="here")
    name = "Mixed_6d.branch7x7dbl_4"
    layer = params["Mixed_6d"]["branch7x7dbl_4"]
    np.testing.assert_array_equal(
        layer["kernel"][6, 0, 2], published[f"{name}.conv.weight"][:, 2, 6, 0]
    )
    for ours, theirs in [
        ("scale", "weight"),
        ("bias", "bias"),
        ("mean", "running_mean"),
        ("variance", "running_var"),
    ]:
        np.testing.assert_array_equal(layer[ours], published[f"{name}.bn.{theirs}"])
    np.testing.assert_array_equal(params["fc"]["kernel"][3], published["fc.weight"][:, 3])


def test_the_network_of_torchvision_is_refused(published):
    """It has 1,000 classes and an auxiliary classifier; its features are others."""
    arrays = {**published, "fc.weight": np.zeros((1000, 2048), np.float32)}
    arrays["AuxLogits.conv0.conv.weight"] = np.zeros((128, 768, 1, 1), np.float32)
    del arrays["Mixed_5b.branch1x1.bn.running_var"]
    with pytest.raises(errors.UserError) as failure:
        files.convert(arrays, where="the file")
    for part in (
        "missing: Mixed_5b.branch1x1.bn.running_var",
        "not used: AuxLogits.conv0.conv.weight",
        "fc/kernel is (2048, 1000), expected (2048, 1008)",
    ):
        assert part in str(failure.value)
