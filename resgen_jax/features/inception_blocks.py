"""The convolutions and blocks of the FID's Inception, by the names of pytorch-fid."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.features import layers

PyTree = Any

BATCH_NORM_EPSILON = 1e-3

# Rows, columns, input and output channels of every convolution.
Widths = dict[str, tuple[int, int, int, int]]


STEM: Widths = {
    "Conv2d_1a_3x3": (3, 3, 3, 32),
    "Conv2d_2a_3x3": (3, 3, 32, 32),
    "Conv2d_2b_3x3": (3, 3, 32, 64),
    "Conv2d_3b_1x1": (1, 1, 64, 80),
    "Conv2d_4a_3x3": (3, 3, 80, 192),
}


def _block_a(in_dim: int, pool_dim: int) -> Widths:
    return {
        "branch1x1": (1, 1, in_dim, 64),
        "branch5x5_1": (1, 1, in_dim, 48),
        "branch5x5_2": (5, 5, 48, 64),
        "branch3x3dbl_1": (1, 1, in_dim, 64),
        "branch3x3dbl_2": (3, 3, 64, 96),
        "branch3x3dbl_3": (3, 3, 96, 96),
        "branch_pool": (1, 1, in_dim, pool_dim),
    }


def _block_b(in_dim: int) -> Widths:
    return {
        "branch3x3": (3, 3, in_dim, 384),
        "branch3x3dbl_1": (1, 1, in_dim, 64),
        "branch3x3dbl_2": (3, 3, 64, 96),
        "branch3x3dbl_3": (3, 3, 96, 96),
    }


def _block_c(in_dim: int, width: int) -> Widths:
    return {
        "branch1x1": (1, 1, in_dim, 192),
        "branch7x7_1": (1, 1, in_dim, width),
        "branch7x7_2": (1, 7, width, width),
        "branch7x7_3": (7, 1, width, 192),
        "branch7x7dbl_1": (1, 1, in_dim, width),
        "branch7x7dbl_2": (7, 1, width, width),
        "branch7x7dbl_3": (1, 7, width, width),
        "branch7x7dbl_4": (7, 1, width, width),
        "branch7x7dbl_5": (1, 7, width, 192),
        "branch_pool": (1, 1, in_dim, 192),
    }


def _block_d(in_dim: int) -> Widths:
    return {
        "branch3x3_1": (1, 1, in_dim, 192),
        "branch3x3_2": (3, 3, 192, 320),
        "branch7x7x3_1": (1, 1, in_dim, 192),
        "branch7x7x3_2": (1, 7, 192, 192),
        "branch7x7x3_3": (7, 1, 192, 192),
        "branch7x7x3_4": (3, 3, 192, 192),
    }


def _block_e(in_dim: int) -> Widths:
    return {
        "branch1x1": (1, 1, in_dim, 320),
        "branch3x3_1": (1, 1, in_dim, 384),
        "branch3x3_2a": (1, 3, 384, 384),
        "branch3x3_2b": (3, 1, 384, 384),
        "branch3x3dbl_1": (1, 1, in_dim, 448),
        "branch3x3dbl_2": (3, 3, 448, 384),
        "branch3x3dbl_3a": (1, 3, 384, 384),
        "branch3x3dbl_3b": (3, 1, 384, 384),
        "branch_pool": (1, 1, in_dim, 192),
    }


BLOCKS: dict[str, Widths] = {
    "Mixed_5b": _block_a(192, 32),
    "Mixed_5c": _block_a(256, 64),
    "Mixed_5d": _block_a(288, 64),
    "Mixed_6a": _block_b(288),
    "Mixed_6b": _block_c(768, 128),
    "Mixed_6c": _block_c(768, 160),
    "Mixed_6d": _block_c(768, 160),
    "Mixed_6e": _block_c(768, 192),
    "Mixed_7a": _block_d(768),
    "Mixed_7b": _block_e(1280),
    "Mixed_7c": _block_e(2048),
}


def shapes(widths: Widths) -> PyTree:
    """Shapes of the parameters of convolutions and their normalisations."""
    statistics = ("scale", "bias", "mean", "variance")
    return {
        name: {"kernel": sizes, **dict.fromkeys(statistics, sizes[-1:])}
        for name, sizes in widths.items()
    }


def conv(
    params: PyTree, values: Float[Array, "b h w c"], stride: int = 1, padding: str = "SAME"
) -> Float[Array, "b h2 w2 d"]:
    """Convolution, normalisation by the statistics of training, ReLU."""
    outputs = layers.convolve_plain(params["kernel"], values, stride=stride, padding=padding)
    factor = params["scale"] * jax.lax.rsqrt(params["variance"] + BATCH_NORM_EPSILON)
    shift = params["bias"] - params["mean"] * factor
    return jax.nn.relu(outputs * factor[None, None, None, :] + shift[None, None, None, :])


def _chain(params: PyTree, values: jax.Array, *names: str) -> jax.Array:
    for name in names:
        values = conv(params[name], values)
    return values


def run_stem(params: PyTree, values: Float[Array, "b h w 3"]) -> Float[Array, "b h2 w2 c"]:
    """Five convolutions and two poolings before the first block."""
    values = conv(params["Conv2d_1a_3x3"], values, 2, "VALID")
    values = conv(params["Conv2d_2a_3x3"], values, 1, "VALID")
    values = layers.max_pool(conv(params["Conv2d_2b_3x3"], values), 3, 2)
    values = conv(params["Conv2d_3b_1x1"], values)
    return layers.max_pool(conv(params["Conv2d_4a_3x3"], values, 1, "VALID"), 3, 2)


def _join(*branches: jax.Array) -> jax.Array:
    return jnp.concatenate(branches, axis=-1)


def _run_a(params: PyTree, values: jax.Array) -> jax.Array:
    return _join(
        conv(params["branch1x1"], values),
        _chain(params, values, "branch5x5_1", "branch5x5_2"),
        _chain(params, values, "branch3x3dbl_1", "branch3x3dbl_2", "branch3x3dbl_3"),
        conv(params["branch_pool"], layers.average_pool(values, 3)),
    )


def _run_b(params: PyTree, values: jax.Array) -> jax.Array:
    double = _chain(params, values, "branch3x3dbl_1", "branch3x3dbl_2")
    return _join(
        conv(params["branch3x3"], values, 2, "VALID"),
        conv(params["branch3x3dbl_3"], double, 2, "VALID"),
        layers.max_pool(values, 3, 2),
    )


def _run_c(params: PyTree, values: jax.Array) -> jax.Array:
    return _join(
        conv(params["branch1x1"], values),
        _chain(params, values, *(f"branch7x7_{index}" for index in range(1, 4))),
        _chain(params, values, *(f"branch7x7dbl_{index}" for index in range(1, 6))),
        conv(params["branch_pool"], layers.average_pool(values, 3)),
    )


def _run_d(params: PyTree, values: jax.Array) -> jax.Array:
    narrow = conv(params["branch3x3_1"], values)
    wide = _chain(params, values, *(f"branch7x7x3_{index}" for index in range(1, 4)))
    return _join(
        conv(params["branch3x3_2"], narrow, 2, "VALID"),
        conv(params["branch7x7x3_4"], wide, 2, "VALID"),
        layers.max_pool(values, 3, 2),
    )


def _run_e(params: PyTree, values: jax.Array, pooled: jax.Array) -> jax.Array:
    single = conv(params["branch3x3_1"], values)
    double = _chain(params, values, "branch3x3dbl_1", "branch3x3dbl_2")
    return _join(
        conv(params["branch1x1"], values),
        *(conv(params[f"branch3x3_2{side}"], single) for side in "ab"),
        *(conv(params[f"branch3x3dbl_3{side}"], double) for side in "ab"),
        conv(params["branch_pool"], pooled),
    )


def _run_e_average(params: PyTree, values: jax.Array) -> jax.Array:
    return _run_e(params, values, layers.average_pool(values, 3))


def _run_e_largest(params: PyTree, values: jax.Array) -> jax.Array:
    # In the published graph, the last block alone takes the largest of each window.
    return _run_e(params, values, layers.max_pool(values, 3, 1, border=(1, 1)))


RUN = {
    **dict.fromkeys(("Mixed_5b", "Mixed_5c", "Mixed_5d"), _run_a),
    "Mixed_6a": _run_b,
    **dict.fromkeys(("Mixed_6b", "Mixed_6c", "Mixed_6d", "Mixed_6e"), _run_c),
    "Mixed_7a": _run_d,
    "Mixed_7b": _run_e_average,
    "Mixed_7c": _run_e_largest,
}
