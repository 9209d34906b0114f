"""MobileNetV2 from its published file, or from one that numbers the layers as the graph does."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from resgen_jax.convert import folding, rules
from resgen_jax.core import errors
from resgen_jax.features import mobilenet

PyTree = Any

IGNORED = ("ops", r"\d\d_cfg", r"example/.*", r".*\.num_batches_tracked")
# Parts of a block in the order of the graph, and their names in the published file.
PARTS = {"expand": "expand_1x1", "depthwise": "conv_3x3", "project": "reduce_1x1"}
PREFIX = "mobilenet_v2"


def convert(arrays: Mapping[str, np.ndarray], *, where: str) -> PyTree:
    """Parameters of `mobilenet.make()`, from either of two layouts.

    Published: the names of google/mobilenet_v2_1.0_224 on Hugging Face, convolutions and batch
    normalisations apart. Numbered: NN_w (rows, columns, in, out) and NN_b, NN from 00 to 52, and
    NN_cfg, where there is one, says (is depthwise, stride, has an activation). Raises UserError,
    beginning by `where`, that names all arrays that are missing, left over or of another shape,
    and all layers that are said to be others than those of MobileNetV2 1.0.
    """
    is_numbered = "00_w" in arrays
    return _from_numbered(arrays, where) if is_numbered else _from_published(arrays, where)


def layer_paths() -> list[str]:
    """Paths of the layers in the order of the graph."""
    blocks = mobilenet.shapes()["blocks"]
    parts = [(index, part) for index, block in blocks.items() for part in PARTS if part in block]
    within = [f"blocks/{index}/{part}" for index, part in parts]
    return ["stem", *within, "head", "logits"]


def settings(path: str) -> tuple[int, int, int]:
    """Whether the layer is depthwise, its stride, and whether an activation follows."""
    if path == "stem":
        return (0, 2, 1)
    _, _, rest = path.partition("/")
    index, _, part = rest.partition("/")
    is_depthwise = part == "depthwise"
    stride = mobilenet.BLOCKS[int(index)].stride if is_depthwise else 1
    return (int(is_depthwise), stride, int(path != "logits" and part != "project"))


def published_name(path: str) -> str:
    """The name in the published file, which has the first block in its stem."""
    names = {"stem": "conv_stem.first_conv", "head": "conv_1x1"}
    if path in names:
        return f"{PREFIX}.{names[path]}"
    _, index, part = path.split("/")
    group = f"layer.{int(index) - 1}" if int(index) else "conv_stem"
    return f"{PREFIX}.{group}.{PARTS[part]}"


def _from_numbered(arrays: Mapping[str, np.ndarray], where: str) -> PyTree:
    paths = layer_paths()
    table = []
    for index, path in enumerate(paths):
        table.append(rules.copy(f"{index:02d}_w", f"{path}/kernel"))
        table.append(rules.copy(f"{index:02d}_b", f"{path}/bias"))
    params = rules.apply(table, arrays, mobilenet.shapes(), where=where, ignored=IGNORED)
    said = {f"{index:02d}_cfg": settings(path) for index, path in enumerate(paths)}
    wrong = [
        name
        for name, expected in said.items()
        if name in arrays and tuple(arrays[name].tolist()) != expected
    ]
    if wrong:
        raise errors.UserError(f"{where}: not MobileNetV2 1.0, by {', '.join(wrong)}")
    return params


def _from_published(arrays: Mapping[str, np.ndarray], where: str) -> PyTree:
    shapes: dict[str, dict[str, tuple[int, ...]]]
    shapes = {"logits": {"kernel": (mobilenet.NUM_FEATURES, mobilenet.NUM_CLASSES)}}
    shapes["logits"]["bias"] = (mobilenet.NUM_CLASSES,)
    table = rules.dense("classifier", "logits")
    # Paths with dots: one level of names, so that each layer is folded by itself.
    for path, kernel in _kernels(mobilenet.shapes()):
        target, source = path.replace("/", "."), published_name(path)
        shapes[target] = folding.shapes(kernel)
        table += folding.table(f"{source}.convolution", f"{source}.normalization", target)
    layers = rules.apply(table, arrays, shapes, where=where, ignored=IGNORED)
    logits = layers.pop("logits")
    flat = {"logits/kernel": logits["kernel"][None, None], "logits/bias": logits["bias"]}
    for target, layer in layers.items():
        path = target.replace(".", "/")
        flat[f"{path}/kernel"], flat[f"{path}/bias"] = folding.folded(**layer)
    return rules.nest(flat)


def _kernels(shapes: PyTree) -> Iterator[tuple[str, tuple[int, ...]]]:
    """Path and kernel shape of every layer that is normalised."""
    for path in layer_paths()[:-1]:
        node = shapes
        for name in path.split("/"):
            node = node[name]
        yield path, node["kernel"]
