"""LPIPS from its published files: the lpips package's heads and torchvision's backbones."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np

from resgen_jax.convert import rules
from resgen_jax.core import errors
from resgen_jax.features import lpips

PyTree = Any

# Spellings of one name: torchvision's (features.0.weight), a whole lpips or torchmetrics module
# (net.slice1.0.weight, net.net.slice1.0.weight) and one file with both parts (backbone/0.weight).
SPELLINGS = (
    (re.compile(r"(?:net\.)*slice\d+\.(\d+\..+)"), r"features.\1"),
    (re.compile(r"backbone/(\d+\..+)"), r"features.\1"),
    (re.compile(r"(?:net\.|lin/)(lin\d+\.model\.1\.weight)"), r"\1"),
)
# The classifier behind the backbone, a second reference to the heads, the constants of the input;
# in one file with both parts: heads of other backbones and examples.
IGNORED = (
    r"classifier\..*",
    r"(net\.)*lins\..*",
    r"(net\.)*scaling_layer\..*",
    r"(lin_\w+|example|expected)/.*",
)


def convert(backbone: str, arrays: Mapping[str, np.ndarray], *, where: str) -> PyTree:
    """Parameters of `lpips.make(backbone)` from arrays by their published names.

    Raises UserError, beginning by `where`, that names all arrays that are missing, left over or of
    another shape.
    """
    shapes = lpips.shapes(backbone)
    table = [
        rules.copy(f"lin{index}.model.1.weight", f"heads/{index}/weight", rules.flat)
        for index in shapes["heads"]
    ]
    for name, layer in shapes["backbone"].items():
        parts = [""] if "kernel" in layer else [f"/{part}" for part in layer]
        for part in parts:
            source = f"features.{name}{part.replace('/', '.')}"
            table += rules.conv(source, f"backbone/{name}{part}")
    return rules.apply(table, _respelled(arrays, where), shapes, where=where, ignored=IGNORED)


def _respelled(arrays: Mapping[str, np.ndarray], where: str) -> dict[str, np.ndarray]:
    respelled: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        spelling = name
        for pattern, replacement in SPELLINGS:
            if match := pattern.fullmatch(name):
                spelling = match.expand(replacement)
        if spelling in respelled:
            raise errors.UserError(f"{where}: two arrays stand for {spelling}; keep one of them")
        respelled[spelling] = array
    return respelled
