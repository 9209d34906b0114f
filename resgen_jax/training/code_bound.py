"""An upper bound of the nats of an example's codes, from the masking process alone.

The sampler that reveals one code a step, in an order that the process draws, has a likelihood. By
Jensen's inequality its logarithm is at least the mean over orders of what each code costs when it
is its turn: ResGen's variational bound (sections 2.3 and 2.4) with as many steps as codes.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from resgen_jax.core import keys as random_keys
from resgen_jax.processes import rvq_masking

# From a level to the nats of each position's code of that level, by states under the mask.
LevelNll = Callable[[Int[Array, ""]], dict[str, Float[Array, "b l"]]]


def sample_mask(
    keys: Key[Array, "b"], length: int, depth: int, is_valid: Bool[Array, "b l"] | None = None
) -> Bool[Array, "b l q"]:
    """A mask of the process at an even time: 1 to all codes hidden, each number as often."""

    def one(key, is_valid):
        use = random_keys.named_keys(key, "time", "cells")
        num_cells = (jnp.int32(length) if is_valid is None else jnp.sum(is_valid)) * depth
        num_masked = jax.random.randint(use["time"], (), 1, jnp.maximum(num_cells, 1) + 1)
        cells = rvq_masking.sample_cells(use["cells"], num_masked, length, depth, is_valid)
        return rvq_masking.hide_deepest(cells)

    return jax.vmap(one)(keys, is_valid)


def nats_a_code(
    is_masked: Bool[Array, "b l q"], level_nll: LevelNll
) -> dict[str, Float[Array, "b"]]:
    """For one mask of `sample_mask` an unbiased estimate of the bound, over the number of codes.

    The next code is the shallowest hidden one of a position, which is drawn in proportion to how
    many it hides: the mean over positions is taken exactly.
    """
    num_hidden = jnp.sum(is_masked, axis=-1)
    depth = is_masked.shape[-1]
    turn = num_hidden / jnp.maximum(jnp.sum(num_hidden, axis=-1, keepdims=True), 1)
    first = depth - num_hidden

    def of_level(level):
        share = jnp.where(first == level, turn, 0.0)
        return {
            name: jnp.sum(jnp.where(share > 0, share * nll, 0.0), axis=-1)
            for name, nll in level_nll(level).items()
        }

    by_level = jax.lax.map(of_level, jnp.arange(depth))
    return {name: jnp.sum(values, axis=0) for name, values in by_level.items()}
