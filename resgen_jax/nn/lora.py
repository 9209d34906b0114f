"""Low-rank adapters (LoRA): what is learned beside kernels that stay as they are.

arXiv 2106.09685, section 4.1: W becomes W + scale * A B, of which A is drawn and B begins as zeros.
Adapters are a tree of their own, whose gradient is taken through `merged`; networks know none.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from resgen_jax.core import errors, keys, trees

PyTree = Any
Adapters = dict[str, dict[str, Float[Array, "..."]]]  # by the name of a kernel: "down", "up"


def is_mlp_kernel(name: str) -> bool:
    """Whether the parameter of this name is a kernel of a block's MLP, as SoftVQ-VAE adapts."""
    return "/blocks/" in f"/{name}" and name.endswith(("/up/kernel", "/down/kernel"))


def init(
    key: PRNGKeyArray, params: PyTree, is_adapted: Callable[[str], bool], rank: int = 8
) -> Adapters:
    """Adapters of the kernels "... in out" that have such names (`encoder/vit/blocks/up/kernel`).

    "down" is "... in rank", even within 1 / sqrt(in), and "up" is "... rank out", zeros. Raises
    UserError for a rank below 1, for names that no parameter has, and for one that is no kernel.
    """
    if rank < 1:
        raise errors.UserError(f"rank is {rank}; expected at least 1")
    leaves = trees.named_leaves(params)
    adapted = {name: leaf for name, leaf in leaves.items() if is_adapted(name)}
    if not adapted:
        raise errors.UserError(
            f"none of {len(leaves)} parameters is to be adapted; choose some of names such as "
            f"{next(iter(leaves), 'a/b/kernel')}"
        )
    return {name: _pair(keys.named_keys(key, name)[name], name, leaf.shape, rank)
            for name, leaf in adapted.items()}  # fmt: skip


def merged(params: PyTree, adapters: Adapters, scale: float = 1.0) -> PyTree:
    """The parameters with what the adapters add; LoRA's scale is its alpha over the rank.

    Raises UserError for adapters of kernels that `params` do not have.
    """
    if unknown := adapters.keys() - trees.named_leaves(params).keys():
        raise errors.UserError(
            f"there is an adapter of {min(unknown)}, which the parameters do not have; merge it "
            "with those that it was made for"
        )

    def of(path, leaf):
        pair = adapters.get(jax.tree_util.keystr(path, simple=True, separator="/"))
        if pair is None:
            return leaf
        added = jnp.einsum(
            "...ir,...ro->...io", pair["down"], pair["up"], precision=jax.lax.Precision.HIGHEST
        )
        return leaf + (scale * added).astype(leaf.dtype)

    return jax.tree_util.tree_map_with_path(of, params)


def axes(network_axes: PyTree, adapters: Adapters) -> dict[str, dict[str, tuple]]:
    """Logical axes of adapters, after those of their kernels; the rank has none."""
    flat, _ = jax.tree_util.tree_flatten_with_path(
        network_axes, is_leaf=lambda node: isinstance(node, tuple)
    )
    names = {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in flat}
    return {
        name: {
            "down": (*names[name][:-1], None),
            "up": (*names[name][:-2], None, names[name][-1]),
        }
        for name in adapters
    }


def _pair(key: PRNGKeyArray, name: str, shape: tuple[int, ...], rank: int) -> dict[str, Array]:
    if len(shape) < 2:
        raise errors.UserError(
            f"{name} is of shape {shape}; expected a kernel of two dimensions or more"
        )
    *stacked, in_dim, out_dim = shape
    bound = 1 / math.sqrt(in_dim)
    down = jax.random.uniform(key, (*stacked, in_dim, rank), minval=-bound, maxval=bound)
    return {"down": down, "up": jnp.zeros((*stacked, rank, out_dim))}
