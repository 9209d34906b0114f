"""Weights by name from a folder: which files count, in which order, and what is said without."""

import hashlib
import importlib.util

import jax
import numpy as np
import published_weights
import pytest

from resgen_jax.convert import efficientnet_lite, safetensors_files, weights
from resgen_jax.core import errors

PUBLISHED = ("squeeze.pth", "squeezenet1_1-b8a52dc0.pth")


@pytest.fixture(scope="module")
def backbone():
    return published_weights.lpips_backbone("squeeze")


@pytest.fixture(scope="module")
def heads():
    return published_weights.lpips_heads("squeeze")


@pytest.fixture
def folder(tmp_path, backbone, heads):
    """The published pair of files; safetensors stands for PyTorch's own format."""
    for name, arrays in zip(PUBLISHED, (heads, backbone), strict=True):
        safetensors_files.write(tmp_path / name, arrays, {})
    return tmp_path


def test_published_files_and_our_own_give_the_same(folder, tmp_path):
    network, params = weights.load_lpips("squeeze", folder)
    assert jax.tree.structure(params) == jax.tree.structure(
        jax.eval_shape(network.init, jax.random.key(0))
    )
    path = weights.save("lpips_squeeze", params, tmp_path / "new" / "folder")
    assert path.name == "lpips_squeeze.safetensors"
    _, again = weights.load_lpips("squeeze", path.parent)
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_one_file_with_both_parts_will_do(folder, tmp_path, backbone, heads):
    _, expected = weights.load_lpips("squeeze", folder)
    (tmp_path / "one").mkdir()
    arrays = {f"lin/{name}": array for name, array in heads.items()}
    arrays |= {
        name.replace("features.", "backbone/"): array
        for name, array in backbone.items()
        if name.startswith("features.")
    }
    np.savez(tmp_path / "one" / "lpips_squeeze.npz", **arrays)
    _, found = weights.load_lpips("squeeze", tmp_path / "one")
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_saving_again_leaves_what_is_loaded_alone(folder, tmp_path):
    _, params = weights.load_lpips("squeeze", folder)
    weights.save("lpips_squeeze", params, tmp_path / "own")
    _, loaded = weights.load_lpips("squeeze", tmp_path / "own")
    weights.save("lpips_squeeze", jax.tree.map(np.zeros_like, params), tmp_path / "own")
    jax.tree.map(np.testing.assert_array_equal, loaded, params)


def test_our_own_file_is_preferred(folder):
    own = folder / weights.own_file("lpips_squeeze")
    own.write_bytes(b"")
    assert weights.find("lpips_squeeze", folder) == (own,)


def test_the_folder_is_the_flag_else_the_variable_else_a_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", "/home/of/someone")
    monkeypatch.setenv("RESGEN_WEIGHTS", str(tmp_path))
    assert weights.folder_of(tmp_path / "flag") == tmp_path / "flag"
    assert weights.folder_of() == tmp_path
    monkeypatch.delenv("RESGEN_WEIGHTS")
    assert str(weights.folder_of()) == "/home/of/someone/.cache/resgen_jax/weights"


def test_file_in_place_of_the_folder_of_weights_is_named_with_the_folder(tmp_path):
    path = tmp_path / "squeeze.pth"
    path.touch()
    with pytest.raises(errors.UserError, match=f"{path}, a file.*{tmp_path}, by --weights"):
        weights.folder_of(path)


@pytest.mark.parametrize("name", sorted(weights.TABLE))
def test_missing_files_are_named_with_where_they_are_published(name, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(errors.UserError) as failure:
        weights.load(name, tmp_path)
    text = str(failure.value)
    assert "\n" not in text
    assert str(tmp_path) in text
    assert "RESGEN_WEIGHTS" in text
    for file, where in weights.TABLE[name].published.items():
        assert f"{file} ({where})" in text


def test_half_of_a_pair_asks_only_for_the_other(folder):
    (folder / PUBLISHED[1]).unlink()
    with pytest.raises(errors.UserError) as failure:
        weights.load_lpips("squeeze", folder)
    assert f"put there {PUBLISHED[1]} (" in str(failure.value)
    assert f"{PUBLISHED[0]} (" not in str(failure.value)


def test_a_damaged_file_of_ours_names_all_that_is_wrong(folder, tmp_path):
    _, params = weights.load_lpips("squeeze", folder)
    own = weights.save("lpips_squeeze", params, tmp_path / "own")
    arrays = {name: array.copy() for name, array in safetensors_files.read(own).items()}
    del arrays["heads/3/weight"]
    arrays["heads/4/weight"] = np.zeros(5, np.float32)
    arrays["heads/7/weight"] = np.zeros(5, np.float32)
    safetensors_files.write(own, arrays, {})
    with pytest.raises(errors.UserError) as failure:
        weights.load_lpips("squeeze", own.parent)
    for part in (str(own), "heads/3/weight", "heads/4/weight is (5,)", "heads/7/weight"):
        assert part in str(failure.value)


def test_features_come_with_their_network(tmp_path):
    np.savez(tmp_path / "mobilenet_v2_imagenet.npz", **published_weights.mobilenet_layers())
    network, params = weights.load_features("mobilenet", tmp_path)
    assert network.name == "mobilenet"
    images = jax.ShapeDtypeStruct((2, 32, 32, 3), np.float32)
    outputs = jax.eval_shape(network.apply, params, images)
    assert outputs.features.shape == (2, network.num_features)


def test_networks_at_hand_are_those_whose_weights_are_there(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert weights.features_at_hand(tmp_path / "empty") == ()
    assert weights.features_at_hand(folder) == ("lpips",)
    np.savez(folder / "mobilenet_v2_imagenet.npz")
    assert weights.features_at_hand(folder) == ("lpips", "mobilenet")
    network, params = weights.load_features("lpips", folder)
    assert network.name == "lpips"
    assert set(params) == {"backbone", "heads"}
    assert set(weights.feature_fingerprints("lpips", folder)) == set(PUBLISHED)


def test_weights_in_an_installed_package_are_found_behind_the_folder(tmp_path, monkeypatch):
    """The package is looked at, and not imported: this one could not be."""
    package = tmp_path / efficientnet_lite.PACKAGE
    file = package / efficientnet_lite.FOLDER / efficientnet_lite.FILE
    file.parent.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('run')")
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    assert not weights.is_there("efficientnet", tmp_path / "empty")
    file.touch()
    assert weights.find("efficientnet", tmp_path / "empty") == (file,)
    assert weights.features_at_hand(tmp_path / "empty") == ("efficientnet",)
    own = tmp_path / efficientnet_lite.FILE
    own.touch()
    assert weights.find("efficientnet", tmp_path) == (own,)


def test_unknown_names_are_answered_by_the_known_ones(tmp_path):
    with pytest.raises(
        errors.UserError, match="expected one of efficientnet, inception, lpips, mobilenet"
    ):
        weights.load_features("resnet", tmp_path)
    with pytest.raises(errors.UserError, match="expected one of alex, squeeze, vgg"):
        weights.load_lpips("resnet", tmp_path)
    with pytest.raises(
        errors.UserError, match="expected one of efficientnet, inception, lpips_alex"
    ):
        weights.load("resnet", tmp_path)


def test_fingerprints_are_sha256(folder):
    expected = {
        name: hashlib.sha256((folder / name).read_bytes()).hexdigest() for name in PUBLISHED
    }
    assert weights.fingerprints("lpips_squeeze", folder) == expected
    with pytest.raises(errors.UserError, match="cannot read"):
        weights.fingerprint(folder / "nothing")
