"""MobileNetV2 against PyTorch, with TensorFlow's padding written out."""

import jax
import jax.numpy as jnp
import numpy as np
import published_weights
import pytest

from resgen_jax.convert import mobilenet, weights

torch = pytest.importorskip("torch")


def convolve(values, kernel, bias, settings):
    """TensorFlow's SAME: where the padding is odd, the larger half comes after."""
    is_depthwise, stride, has_activation = settings
    size = kernel.shape[0]
    padding = []
    for side in (values.shape[3], values.shape[2]):
        missing = max((-(-side // stride) - 1) * stride + size - side, 0)
        padding += [missing // 2, missing - missing // 2]
    weight = kernel.permute(3, 2, 0, 1)
    groups = values.shape[1] if is_depthwise else 1
    values = torch.nn.functional.pad(values, padding)
    values = torch.nn.functional.conv2d(values, weight, bias, stride=stride, groups=groups)
    return torch.nn.functional.relu6(values) if has_activation else values


def run(arrays, images):
    """All 53 layers in order; a block with stride 1 and equal widths has a skip connection."""
    values, entry = images / 127.5 - 1, None
    for index in range(53):
        kernel, bias = (torch.from_numpy(arrays[f"{index:02d}_{part}"]) for part in "wb")
        settings = tuple(arrays[f"{index:02d}_cfg"].tolist())
        is_first = index >= 3 and index % 3 == 0  # layer 3, 6, ... widen: a block begins
        if is_first and index < 51:
            entry = values
        if index == 52:
            features = values.mean((2, 3))
            values = features[:, :, None, None]
        values = convolve(values, kernel, bias, settings)
        is_last = 3 <= index < 51 and index % 3 == 2
        if is_last and values.shape == entry.shape:
            values = values + entry
    return features, values[:, :, 0, 0]


def published_names():
    """Layers of google/mobilenet_v2_1.0_224 in the order of the graph, without the classifier."""
    names = ["conv_stem.first_conv", "conv_stem.conv_3x3", "conv_stem.reduce_1x1"]
    for index in range(16):
        names += [f"layer.{index}.{part}" for part in ("expand_1x1", "conv_3x3", "reduce_1x1")]
    return [f"mobilenet_v2.{name}" for name in [*names, "conv_1x1"]]


def test_the_published_file_with_normalisations_apart_is_the_same_network(tmp_path):
    """Each normalisation is written so that PyTorch's own undoes or does what was folded in."""
    random, state = np.random.default_rng(1), {}
    numbered = published_weights.mobilenet_layers()
    for index, name in enumerate(published_names()):
        kernel, bias = numbered[f"{index:02d}_w"], numbered[f"{index:02d}_b"]
        norm = torch.nn.BatchNorm2d(len(bias), eps=1e-3).eval()
        for array in (norm.weight.data, norm.running_var, norm.running_mean):
            array.copy_(torch.from_numpy(random.uniform(0.5, 1.5, len(bias))))
        with torch.no_grad():
            zero, one = (norm(torch.full((1, len(bias), 1, 1), float(x))).flatten() for x in (0, 1))
        # norm(x) = zero + (one - zero) x, so that these undo it.
        norm.bias.data = torch.from_numpy(bias) - zero
        weight = torch.from_numpy(kernel.transpose(3, 2, 0, 1)) / (one - zero)[:, None, None, None]
        state[f"{name}.convolution.weight"] = weight.contiguous()
        for key, value in norm.state_dict().items():
            state[f"{name}.normalization.{key}"] = value
    state["classifier.weight"] = torch.from_numpy(numbered["52_w"][0, 0].T.copy())
    state["classifier.bias"] = torch.from_numpy(numbered["52_b"])
    torch.save(state, tmp_path / "mobilenet_v2_1.0_224.bin")
    found = weights.load("mobilenet", tmp_path)
    expected = mobilenet.convert(numbered, where="here")
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), found, expected)


def test_features_and_logits_are_those_of_pytorch(tmp_path):
    random = np.random.default_rng(0)
    arrays = published_weights.mobilenet_layers()
    for name, array in arrays.items():
        if name.endswith("_w"):
            fan_in = np.prod(array.shape[:-1])
            arrays[name] = (random.normal(size=array.shape) * (2 / fan_in) ** 0.5).astype("f4")
        elif name.endswith("_b"):
            arrays[name] = random.normal(size=array.shape).astype("f4") / 10
    np.savez(tmp_path / "mobilenet_v2_imagenet.npz", **arrays)
    network, params = weights.load_features("mobilenet", tmp_path)
    # The size the network works at, so that nothing is resized.
    images = random.integers(0, 256, (1, 224, 224, 3)).astype("f4")
    outputs = jax.jit(network.apply)(params, jnp.asarray(images))
    features, logits = run(arrays, torch.from_numpy(images.transpose(0, 3, 1, 2)))
    for ours, theirs in ((outputs.features, features), (outputs.logits, logits)):
        np.testing.assert_allclose(ours, theirs, atol=1e-4 * float(theirs.abs().max()))
