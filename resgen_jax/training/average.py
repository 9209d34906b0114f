"""Moving averages of what is trained, which evaluation, encoding and sampling use."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

PyTree = Any


def update(averaged: PyTree, trained: PyTree, decay: float, step: Int[Array, ""]) -> PyTree:
    """The average after one more step: `a + (1 - d) (p - a)`, d = min(decay, (1 + t) / (10 + t)).

    `step` t counts the steps taken before this one. The smaller decay of the first steps keeps the
    initial parameters, which carry no information, from lingering in the average. What is no float
    has no average: the newest is taken.
    """
    time = step.astype(jnp.float32)
    share = 1 - jnp.minimum(decay, (1 + time) / (10 + time))

    def move(average: Array, new: Array) -> Array:
        if not jnp.issubdtype(new.dtype, jnp.floating):
            return new
        return average + share.astype(average.dtype) * (new - average)

    return jax.tree.map(move, averaged, trained)
