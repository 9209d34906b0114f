"""The FID's Inception from pt_inception-2015-12-05, the port that every PyTorch evaluator loads."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from resgen_jax.convert import rules
from resgen_jax.features import inception

PyTree = Any

IGNORED = (r".*\.num_batches_tracked",)


def convert(arrays: Mapping[str, np.ndarray], *, where: str) -> PyTree:
    """Parameters of `inception.make()` from arrays by the names of pytorch-fid and torch-fidelity.

    Raises UserError, beginning by `where`, that names all arrays that are missing, left over or of
    another shape.
    """
    shapes = inception.shapes()
    table = rules.dense("fc", "fc")
    for name, node in shapes.items():
        if name == "fc":
            continue
        paths = [name] if "kernel" in node else [f"{name}/{branch}" for branch in node]
        for path in paths:
            table += _convolution(path.replace("/", "."), path)
    return rules.apply(table, arrays, shapes, where=where, ignored=IGNORED)


def _convolution(source: str, target: str) -> list[rules.Rule]:
    return [
        rules.copy(f"{source}.conv.weight", f"{target}/kernel", rules.kernel),
        *rules.norm(f"{source}.bn", target),
        rules.copy(f"{source}.bn.running_mean", f"{target}/mean"),
        rules.copy(f"{source}.bn.running_var", f"{target}/variance"),
    ]
