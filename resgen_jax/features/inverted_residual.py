"""The block of MobileNetV2 and its descendants: widen, filter every channel by itself, narrow."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.features import layers

PyTree = Any


class Stage(NamedTuple):
    """A run of blocks, as the tables of the papers have it."""

    side: int  # of the filters
    expansion: int
    out_dim: int
    num_blocks: int
    stride: int  # of the first block


class Block(NamedTuple):
    """One block of a stage."""

    in_dim: int
    expansion: int
    out_dim: int
    stride: int
    side: int


def blocks(stages: Iterable[Stage], stem_dim: int) -> list[Block]:
    """All blocks in order."""
    found, in_dim = [], stem_dim
    for side, expansion, out_dim, num_blocks, stride in stages:
        for index in range(num_blocks):
            found.append(Block(in_dim, expansion, out_dim, 1 if index else stride, side))
            in_dim = out_dim
    return found


def shapes(block: Block) -> PyTree:
    """Shapes of a block's parameters; what would widen by 1 is left out."""
    width = block.expansion * block.in_dim
    parts = {
        "depthwise": layers.kernel_shapes(block.side, block.side, 1, width),
        "project": layers.kernel_shapes(1, 1, width, block.out_dim),
    }
    if block.expansion > 1:
        parts["expand"] = layers.kernel_shapes(1, 1, block.in_dim, width)
    return parts


def apply(params: PyTree, values: Float[Array, "b h w c"], stride: int) -> Float[Array, "b i j d"]:
    """The block; around it is a skip connection if shapes fit."""
    hidden = values
    if "expand" in params:
        hidden = jax.nn.relu6(layers.convolve(params["expand"], hidden))
    hidden = jax.nn.relu6(filter_channels(params["depthwise"], hidden, stride))
    outputs = layers.convolve(params["project"], hidden)
    return values + outputs if outputs.shape == values.shape else outputs


def filter_channels(
    params: PyTree, values: Float[Array, "b h w c"], stride: int
) -> Float[Array, "b i j c"]:
    """A convolution of every channel by itself, as a sum of shifted views, one for each weight.

    Five times as fast on a CPU as XLA's grouped convolution, of 3 x 3. Padded as TensorFlow's SAME
    does.
    """
    side = params["kernel"].shape[0]
    num_rows, num_columns = (-(-length // stride) for length in values.shape[1:3])
    borders = jax.lax.padtype_to_pads(values.shape[1:3], (side, side), (stride, stride), "SAME")
    padded = jnp.pad(values, ((0, 0), *borders, (0, 0)))
    total = params["bias"][None, None, None, :]
    for row in range(side):
        for column in range(side):
            rows = slice(row, row + stride * (num_rows - 1) + 1, stride)
            columns = slice(column, column + stride * (num_columns - 1) + 1, stride)
            weight = params["kernel"][row, column, 0]
            total = total + padded[:, rows, columns] * weight[None, None, None, :]
    return total
