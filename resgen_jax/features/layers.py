"""Layers of frozen networks as functions of plain parameters: convolution, pooling, their init."""

import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

PyTree = Any
Padding = str | tuple[tuple[int, int], tuple[int, int]]


def kernel_shapes(rows: int, columns: int, in_dim: int, out_dim: int) -> dict[str, tuple]:
    """Shapes of a convolution's parameters."""
    return {"kernel": (rows, columns, in_dim, out_dim), "bias": (out_dim,)}


def init(shapes: PyTree, key: jax.Array) -> PyTree:
    """Random parameters of a tree of shapes: kernels keep the variance through a ReLU, rest 0."""
    leaves, structure = jax.tree.flatten(shapes, is_leaf=lambda node: isinstance(node, tuple))
    kernels = [shape for shape in leaves if len(shape) > 1]
    ends = np.cumsum([math.prod(shape) for shape in kernels])

    # One draw, compiled as one: drawing a hundred kernels by themselves takes a minute.
    def draw(key: jax.Array) -> PyTree:
        drawn = iter(jnp.split(jax.random.normal(key, (int(ends[-1]),), jnp.float32), ends[:-1]))
        return [
            _scaled(next(drawn), shape) if len(shape) > 1 else jnp.zeros(shape, jnp.float32)
            for shape in leaves
        ]

    return jax.tree.unflatten(structure, jax.jit(draw)(key))


def _scaled(numbers: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    return math.sqrt(2 / math.prod(shape[:-1])) * numbers.reshape(shape)


def convolve(
    params: PyTree, values: Float[Array, "b h w c"], *, stride: int = 1, padding: Padding = "VALID"
) -> Float[Array, "b h2 w2 d"]:
    """A convolution with a bias."""
    outputs = convolve_plain(params["kernel"], values, stride=stride, padding=padding)
    return outputs + params["bias"][None, None, None, :]


def convolve_plain(
    kernel: Float[Array, "i j c d"],
    values: Float[Array, "b h w c"],
    *,
    stride: int = 1,
    padding: Padding = "VALID",
) -> Float[Array, "b h2 w2 d"]:
    """A convolution without a bias."""
    return jax.lax.conv_general_dilated(
        values, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def max_pool(
    values: Float[Array, "b h w c"], size: int, stride: int, *, border: tuple[int, int] = (0, 0)
) -> Float[Array, "b h2 w2 c"]:
    """The largest value of each window; `border` adds places that never win, before and after.

    A chain of maxima over shifted views: the gradient of XLA's own window reduction is a scatter,
    many times slower on a CPU. Equal maxima share the gradient.
    """
    low = jnp.array(-jnp.inf, values.dtype)
    values = jax.lax.pad(values, low, ((0, 0, 0), (*border, 0), (*border, 0), (0, 0, 0)))
    # Rows first, then columns: 2 x size views instead of size x size.
    return _largest(_largest(values, 1, size, stride), 2, size, stride)


def _largest(values: jax.Array, axis: int, size: int, stride: int) -> jax.Array:
    last = stride * ((values.shape[axis] - size) // stride) + 1
    views = [
        jax.lax.slice_in_dim(values, offset, offset + last, stride, axis) for offset in range(size)
    ]
    return functools.reduce(jnp.maximum, views)


def max_pool_to_the_edge(
    values: Float[Array, "b h w c"], size: int, stride: int
) -> Float[Array, "b h2 w2 c"]:
    """As `max_pool`, with a last, partial window where the windows do not reach the edge.

    PyTorch's `ceil_mode=True`. Right for size >= stride.
    """
    height, width = values.shape[1:3]
    low = jnp.array(-jnp.inf, values.dtype)
    missing = [-(side - size) % stride for side in (height, width)]
    padding = ((0, 0, 0), (0, missing[0], 0), (0, missing[1], 0), (0, 0, 0))
    return max_pool(jax.lax.pad(values, low, padding), size, stride)


def average_pool(values: Float[Array, "b h w c"], size: int) -> Float[Array, "b h w c"]:
    """The mean of the window around each place, over what of it lies inside; odd `size`."""
    return _window_mean(_window_mean(values, 1, size), 2, size)


def _window_mean(values: jax.Array, axis: int, size: int) -> jax.Array:
    length, reach = values.shape[axis], size // 2
    border = [(reach, reach) if index == axis else (0, 0) for index in range(4)]
    padded = jnp.pad(values, border)
    total = sum(
        jax.lax.slice_in_dim(padded, offset, offset + length, axis=axis) for offset in range(size)
    )
    place = np.arange(length)
    count = np.minimum(place + reach, length - 1) - np.maximum(place - reach, 0) + 1
    shape = [length if index == axis else 1 for index in range(4)]
    return total / jnp.asarray(count.reshape(shape), values.dtype)
