"""Pytrees: named leaves, parameter counts and checksums that any mesh agrees on."""

import math
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, UInt32

PyTree = Any
T = TypeVar("T")


def stand_in(cls: Callable[..., T], *leaves: Any, **named: Any) -> T:
    """A tree whose leaves stand for its arrays: their shapes, their shardings, names of axes."""
    return cls(*leaves, **named)


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """Leaves by their path, written `a/b/c`, in the tree's own order."""
    paths, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="/"): leaf for path, leaf in paths}


def num_parameters(tree: PyTree) -> int:
    """Number of scalars in all leaves; abstract leaves (`ShapeDtypeStruct`) count too."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(tree))


def checksum(array: Array) -> UInt32[Array, ""]:
    """Sum of the array's words times an odd weight of their place, modulo 2^32.

    A change of one word always shows (an odd weight has an inverse modulo 2^32), and integer sums
    do not depend on their order, so every mesh computes the same value from its own shards.
    """
    if jnp.issubdtype(array.dtype, jax.dtypes.prng_key):
        array = jax.random.key_data(array)
    if array.dtype == jnp.bool_:
        array = array.astype(jnp.uint8)
    width = array.dtype.itemsize * 8
    words = jax.lax.bitcast_convert_type(array, jnp.dtype(f"uint{min(width, 32)}"))
    words = words.astype(jnp.uint32)
    place = jnp.zeros(words.shape, jnp.uint32)
    for axis, size in enumerate(words.shape):
        place = place * jnp.uint32(size % 2**32) + jax.lax.broadcasted_iota(
            jnp.uint32, words.shape, axis
        )
    weight = place * jnp.uint32(2654435761) * jnp.uint32(2) + jnp.uint32(1)
    return jnp.sum(words * weight, dtype=jnp.uint32)


def checksums(tree: PyTree) -> PyTree:
    """`checksum` of every leaf, in the shape of the tree."""
    return jax.tree.map(checksum, tree)
