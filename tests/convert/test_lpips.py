"""LPIPS from published names: every spelling gives the same parameters, mistakes are named."""

import jax
import numpy as np
import published_weights
import pytest

from resgen_jax.convert import lpips as files
from resgen_jax.convert import weights
from resgen_jax.core import errors


@pytest.fixture(scope="module")
def published():
    return {
        **published_weights.lpips_backbone("squeeze"),
        **published_weights.lpips_heads("squeeze"),
    }


def test_every_array_lands_in_its_place(published):
    params = files.convert("squeeze", published, where="here")
    fire = params["backbone"]["12"]["expand3x3"]
    np.testing.assert_array_equal(
        fire["kernel"][2, 1, 5], published["features.12.expand3x3.weight"][:, 5, 2, 1]
    )
    np.testing.assert_array_equal(fire["bias"], published["features.12.expand3x3.bias"])
    head = published["lin6.model.1.weight"]
    np.testing.assert_array_equal(params["heads"]["6"]["weight"], head[0, :, 0, 0])


def in_one_file(name):
    return f"lin/{name}" if name.startswith("lin") else name.replace("features.", "backbone/")


def as_module(name):
    return name if name.startswith("lin") else name.replace("features.", "net.slice3.")


def as_metric(name):
    return f"net.{as_module(name)}"


@pytest.mark.parametrize("respell", [in_one_file, as_module, as_metric])
def test_all_spellings_give_the_same(respell, published):
    expected = files.convert("squeeze", published, where="here")
    arrays = {respell(name): array for name, array in published.items() if "class" not in name}
    arrays |= {"net.lins.0.model.1.weight": np.zeros((1, 64, 1, 1)), "lin_vgg/x": np.zeros(3)}
    found = files.convert("squeeze", arrays, where="here")
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_all_that_is_wrong_is_named_at_once(published):
    arrays = {**published, "features.99.weight": np.zeros(3, np.float32)}
    arrays["features.0.weight"] = np.zeros((64, 3, 5, 5), np.float32)
    del arrays["lin2.model.1.weight"]
    with pytest.raises(errors.UserError) as failure:
        files.convert("squeeze", arrays, where="the file")
    text = str(failure.value)
    assert text.startswith("the file: ")
    assert "\n" not in text
    for part in (
        "missing: lin2.model.1.weight",
        "not used: features.99.weight",
        "backbone/0/kernel is (5, 5, 3, 64), expected (3, 3, 3, 64)",
    ):
        assert part in text


def test_two_arrays_under_one_name_are_refused(published):
    arrays = {**published, "backbone/0.bias": np.zeros(64, np.float32)}
    with pytest.raises(errors.UserError, match=r"two arrays stand for features\.0\.bias"):
        files.convert("squeeze", arrays, where="the file")


def published_noise():
    """The batches of torchmetrics' doctest, torch.rand after seed 123, from [0, 1) to [-1, 1)."""
    twister = np.random.MT19937()
    twister._legacy_seeding(123)
    numbers = (twister.random_raw(2 * 300_000) & 0xFFFFFF) / np.float32(2**24)
    batches = 2 * numbers.astype(np.float32).reshape(2, 10, 3, 100, 100) - 1
    return np.moveaxis(batches, 2, -1)


def test_published_weights_give_the_published_distance():
    try:
        network, params = weights.load_lpips("squeeze")
    except errors.UserError as missing:
        pytest.skip(str(missing))
    distance = np.mean(jax.jit(network.distance)(params, *published_noise()))
    assert round(float(distance), 4) == 0.1008
