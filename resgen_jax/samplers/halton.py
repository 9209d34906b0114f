"""Cells in the order of a Halton sequence: those of a step lie spread over the grid.

Cells that are revealed together are drawn without seeing each other, and near ones depend on each
other most (Halton scheduler, arXiv 2503.17076). The order asks no confidence and no noise.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from resgen_jax.core import keys as random_keys
from resgen_jax.samplers import interface


@functools.cache
def ranks(sides: tuple[int, ...]) -> Int[np.ndarray, "..."]:
    """When each cell of a grid is first visited by the Halton sequence of the bases 2, 3, 5."""
    from scipy.stats import qmc  # half a second of import

    num_cells = int(np.prod(sides))
    sequence, order = qmc.Halton(len(sides), scramble=False), np.zeros(0, np.int64)
    while len(order) < num_cells:  # by chunks: how far the last cell lies is not known before
        points = sequence.random(4 * num_cells)
        cells = np.minimum((points * sides).astype(np.int64), np.array(sides) - 1)
        order = np.concatenate([order, np.ravel_multi_index(tuple(cells.T), sides)])
        _, first = np.unique(order, return_index=True)
        order = order[np.sort(first)]
    found = np.empty(num_cells, np.int32)
    found[order] = np.arange(num_cells)
    found.flags.writeable = False  # it is kept
    return found.reshape(sides)


def positions(keys: Key[Array, "b"], layout: tuple[int, int], depth: int) -> interface.Order:
    """Position after position in Halton order, each with all of its levels at once."""
    return _by_rank(keys, np.repeat(ranks(layout).reshape(-1, 1) * depth, depth, axis=1))


def cells(keys: Key[Array, "b"], layout: tuple[int, int], depth: int) -> interface.Order:
    """Positions x levels in Halton order: at every step all positions are known about as deep.

    The pick of the sampler says which level a cell stands for, as in every order.
    """
    return _by_rank(keys, ranks((*layout, depth)).reshape(-1, depth))


def _by_rank(keys: Array, rank: np.ndarray) -> interface.Order:
    """The order of these ranks, begun for each example at a place that its key draws.

    With one start for all, the same cells of all examples would be drawn without a neighbour.
    """
    use = jax.vmap(lambda key: random_keys.named_keys(key, "start")["start"])(keys)
    start = jax.vmap(lambda key: jax.random.randint(key, (), 0, rank.size))(use)
    place = (jnp.asarray(rank)[None] - start[:, None, None]) % rank.size
    score = -place.astype(jnp.float32)

    def order(
        keys: Key[Array, "b"],
        confidence: Float[Array, "b l q"],
        order_noise: float | Float[Array, ""],
    ) -> Float[Array, "b l q"]:
        del keys, confidence, order_noise
        return score

    return order
