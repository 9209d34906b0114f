"""RQ-Transformer of kakaobrain/rq-vae-transformer: the generator of a published checkpoint."""

import math
import os
import re
from collections.abc import Mapping

import jax
import numpy as np

from resgen_jax.convert import autoencoder, exports, rules
from resgen_jax.core import errors, spaces
from resgen_jax.generators import rq_transformer

HEAD_WIDTH = 64  # of all published sizes
STACKS = ("body", "head")
DENSE = {
    "query": "attn.query",
    "key": "attn.key",
    "value": "attn.value",
    "out": "attn.proj",
    "up": "mlp.0",
    "down": "mlp.2",
}
NORMS = {"norm_attention": "ln1", "norm_mlp": "ln2"}
# Arrays that tell sizes, and how many dimensions they have; the first ones end by the width.
SIZES = {
    "pos_emb_hw": 3,
    "pos_emb_d": 3,
    "pos_emb_cond": 3,
    "cond_emb.weight": 2,
    "classifier.linear.weight": 2,
    "input_mlp.weight": 2,
}


def convert(
    path: str | os.PathLike, *, num_heads: int = 0, grid: tuple[int, ...] = ()
) -> exports.Export:
    """The generator in a checkpoint of RQ-Transformer, by class or without a condition.

    `num_heads` 0 means heads of 64. The arrays tell how many positions there are and not in how
    many rows: without `grid` (rows, columns) they are taken for a square, as all published ones
    are, which the export's remarks tell. Raises UserError for a file that does not fit as a whole.
    """
    (arrays, remarks), where = autoencoder.read_state(path), str(path)
    spec, space = specs_of(arrays, num_heads, where, grid)
    network = rq_transformer.make(spec, space)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    params = rules.apply(rules_of(spec), arrays, shapes, where=where)
    if not grid:
        side, _ = space.layout
        remarks += (
            f"{side * side} positions are taken for a grid of {side} x {side}; say "
            "--grid=ROWSxCOLUMNS where it is another",
        )
    return exports.of_rq_transformer(spec, space, params)._replace(remarks=remarks)


def specs_of(
    arrays: Mapping[str, np.ndarray], num_heads: int, where: str, grid: tuple[int, ...] = ()
) -> tuple[rq_transformer.Spec, spaces.Space]:
    """Sizes of network and codes, read off the arrays; 1 where one lacks, which is told later."""
    found = {name: arrays[name].shape for name in SIZES if name in arrays}
    if not found:
        raise errors.UserError(
            f"{where} is no RQ-Transformer on codebook vectors: it has none of {', '.join(SIZES)}; "
            "expected one of the published image generators"
        )
    condition, classifier = found.get("pos_emb_cond", ()), found.get("classifier.linear.weight", ())
    if (len(condition) == 3 and condition[1] != 1) or len(classifier) > 2:
        raise errors.UserError(
            f"{where} has a condition of shape {condition} and a classifier of shape {classifier}; "
            "only generators by class with one classifier can be read"
        )
    shapes = {name: found.get(name, ()) for name in SIZES}
    shapes = {name: shape if len(shape) == SIZES[name] else () for name, shape in shapes.items()}
    width = next((shape[-1] for shape in shapes.values() if shape), 1)
    _, length, _ = shapes["pos_emb_hw"] or (1, 1, 1)
    _, depth, _ = shapes["pos_emb_d"] or (1, 1, 1)
    num_classes, _ = shapes["cond_emb.weight"] or (1, 1)
    _, code_dim = shapes["input_mlp.weight"] or (1, 1)
    codebook_size, _ = shapes["classifier.linear.weight"] or (1, 1)
    grid = grid or (math.isqrt(length),) * 2
    if len(grid) != 2 or min(grid) < 1 or math.prod(grid) != length:
        raise errors.UserError(
            f"{where} has {length} positions, which are no grid of {' x '.join(map(str, grid))}; "
            "say its rows and columns by --grid=ROWSxCOLUMNS"
        )
    body, head = (_num_layers(arrays, stack) for stack in STACKS)
    spec = rq_transformer.Spec(width, num_heads or max(1, width // HEAD_WIDTH), body, head)
    space = spaces.image_codes((grid[0], grid[1]), depth, codebook_size, code_dim, num_classes)
    return spec, space


def rules_of(spec: rq_transformer.Spec) -> list[rules.Rule]:
    """The rule for each parameter; the layers of a stack are one array."""
    table = [
        rules.copy("cond_emb.weight", "classes"),
        rules.copy("pos_emb_cond", "class_position", lambda array: rules.only(rules.only(array))),
        rules.copy("pos_emb_hw", "positions", rules.only),
        rules.copy("pos_emb_d", "levels", rules.only),
        *rules.dense("input_mlp", "body_in"),
        *rules.dense("head_mlp", "head_in"),
        *rules.norm("classifier.layer_norm", "norm"),
        *rules.dense("classifier.linear", "out"),
    ]
    for stack, num_layers in zip(STACKS, (spec.num_body_layers, spec.num_head_layers), strict=True):
        for target, source in (*DENSE.items(), *NORMS.items()):
            single = (rules.dense if target in DENSE else rules.norm)(source, target)
            for rule in single:
                sources = tuple(
                    f"{stack}_transformer.blocks.{layer}.{rule.sources[0]}"
                    for layer in range(num_layers)
                )
                path = f"{stack}/blocks/{rule.target}"
                table.append(rules.Rule(path, sources, rules.stacked_by(rule.transform)))
    return table


def _num_layers(arrays: Mapping[str, np.ndarray], stack: str) -> int:
    pattern = re.compile(rf"{stack}_transformer\.blocks\.(\d+)\..*")
    return max((int(match[1]) + 1 for match in map(pattern.fullmatch, arrays) if match), default=0)
