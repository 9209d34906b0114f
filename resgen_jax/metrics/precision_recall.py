"""Precision and recall of samples by the manifolds of their features, in blocks on all devices.

A set's manifold is the union of balls around its rows, each as wide as the distance to the row's
k-th nearest neighbour in the set (Kynkaanniemi et al. 2019); k = 3 as in the ADM evaluator, which
compares 10,000 reference images with all samples. Squared distances in float32, unlike that
evaluator, which takes them in float16: those of features 20 long are then known to 0.25 at best,
and on tight clusters it finds more inside than there is (0.96 for a precision of 0.83 in a test).
`adm_precision_recall` takes them so, for figures to be put beside published ones.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple, cast

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Float

from resgen_jax.core import errors

NUM_NEIGHBOURS = 3
BLOCK_SIZE = 2048  # rows and columns of the distances that exist at a time, on each device
ADM_BLOCK_SIZE = 10_000  # which it takes in float32 where one distance is too large for float16

Distances = Callable[[Array, Array], Array]  # rows "n f", columns "z f" -> squared, "n z"


class PrecisionRecall(NamedTuple):
    """Shares in [0, 1]."""

    precision: float  # of the samples, inside the manifold of the reference
    recall: float  # of the reference, inside the manifold of the samples


def precision_recall(
    reference: Float[np.ndarray, "n f"],
    samples: Float[np.ndarray, "z f2"],
    *,
    num_neighbours: int = NUM_NEIGHBOURS,
    block_size: int = BLOCK_SIZE,
    sharding: NamedSharding | None = None,
) -> PrecisionRecall:
    """Precision and recall of `samples` against `reference`, features of one network.

    `sharding` says how the rows of a block lie on the devices. Raises UserError for sets of no more
    than `num_neighbours` rows.
    """
    _check_features(reference, samples)
    centre = reference.mean(axis=0, dtype=np.float64)  # small norms keep float32 exact
    return _compared(
        reference - centre,
        samples - centre,
        num_neighbours,
        squared_distances,
        block_size,
        sharding,
    )


def adm_precision_recall(
    reference: Float[np.ndarray, "n f"],
    samples: Float[np.ndarray, "z f2"],
    *,
    num_neighbours: int = NUM_NEIGHBOURS,
    block_size: int = ADM_BLOCK_SIZE,
    sharding: NamedSharding | None = None,
) -> PrecisionRecall:
    """The figures of ADM's evaluator: `precision_recall` by its distances, in float16.

    UserError as `precision_recall` has it.
    """
    _check_features(reference, samples)
    return _compared(
        reference, samples, num_neighbours, adm_squared_distances, block_size, sharding
    )


def manifold_radii(
    features: Float[np.ndarray, "n f"],
    *,
    num_neighbours: int = NUM_NEIGHBOURS,
    block_size: int = BLOCK_SIZE,
    sharding: NamedSharding | None = None,
) -> Float[np.ndarray, "n"]:
    """Squared distance of each row to its k-th nearest other row."""
    rows = _Blocks(features.astype(np.float32), block_size, sharding)
    return _radii(rows, num_neighbours, squared_distances)


def squared_distances(
    rows: Float[Array, "n f"], columns: Float[Array, "z f"]
) -> Float[Array, "n z"]:
    """Squared Euclidean distance of each row to each column, in float32."""
    products = jnp.einsum("nf,zf->nz", rows, columns, precision=jax.lax.Precision.HIGHEST)
    norms = [jnp.sum(values**2, axis=-1) for values in (rows, columns)]
    return jnp.maximum(norms[0][:, None] - 2 * products + norms[1][None, :], 0.0)


def adm_squared_distances(
    rows: Float[Array, "n f"], columns: Float[Array, "z f"]
) -> Float[Array, "n z"]:
    """The same as ADM's evaluator takes them: every operation rounded to float16.

    Sums are added up in float32 before, as GPUs do; where one distance is too large for float16,
    all of the block are in float32.
    """
    halves = [_half(values) for values in (rows, columns)]
    products = _half(jnp.einsum("nf,zf->nz", *halves, precision=jax.lax.Precision.HIGHEST))
    norms = [_half(jnp.sum(_half(values**2), axis=-1)) for values in halves]
    difference = _half(norms[0][:, None] - _half(2 * products))
    rounded = jnp.maximum(_half(difference + norms[1][None, :]), 0.0)
    return jax.lax.cond(
        jnp.all(jnp.isfinite(rounded)),
        lambda: rounded,
        lambda: squared_distances(rows, columns),
    )


class _Blocks:
    """Rows cut into blocks of one size, the last filled up; on devices when asked for."""

    def __init__(self, rows: np.ndarray, block_size: int, sharding: NamedSharding | None):
        num_shards = 1 if sharding is None else sharding.mesh.size
        self.num_rows = len(rows)
        # Never wider than the rows need, so that few rows stay cheap.
        wanted = min(block_size, max(len(rows), 1))
        self.rows_a_block = -(-wanted // num_shards) * num_shards
        num_blocks = max(1, -(-len(rows) // self.rows_a_block))
        padding = num_blocks * self.rows_a_block - len(rows)
        padded = np.pad(rows, ((0, padding), (0, 0)))
        self.blocks = padded.reshape(num_blocks, self.rows_a_block, rows.shape[1])
        self.is_valid = (np.arange(num_blocks * self.rows_a_block) < len(rows)).reshape(
            num_blocks, self.rows_a_block
        )
        self._sharding = sharding

    def rows(self):
        """Block after block, its rows over the devices."""
        for block in self.blocks:
            yield _put(block, self._sharding)

    def everywhere(self, values: np.ndarray) -> Array:
        """A copy of `values` on every device."""
        return _put(values, self._sharding and _whole(self._sharding))


def _put(values: np.ndarray, sharding: NamedSharding | None) -> Array:
    if sharding is None:
        return jnp.asarray(values)
    return jax.make_array_from_callback(values.shape, sharding, lambda index: values[index])


def _collect(values: Array) -> np.ndarray:
    """The values of all devices and processes."""
    if not values.is_fully_addressable:
        sharding = cast(NamedSharding, values.sharding)
        values = jax.jit(lambda same: same, out_shardings=_whole(sharding))(values)
    return np.asarray(values)


def _whole(sharding: NamedSharding) -> NamedSharding:
    return NamedSharding(sharding.mesh, PartitionSpec())


def _radii(rows: _Blocks, num_neighbours: int, distances: Distances) -> np.ndarray:
    if rows.num_rows <= num_neighbours:
        raise errors.UserError(
            f"{rows.num_rows} images have no {num_neighbours} neighbours each; precision and "
            f"recall take at least {num_neighbours + 1}"
        )
    columns = rows.everywhere(rows.blocks), rows.everywhere(rows.is_valid)
    found = [
        _collect(_nearest(block, *columns, num_neighbours, distances)) for block in rows.rows()
    ]
    return np.concatenate(found)[: rows.num_rows]


def _inside(rows: _Blocks, balls: _Blocks, radii: np.ndarray, distances: Distances) -> np.ndarray:
    """Which rows lie in any of the balls."""
    widths = np.full(balls.is_valid.shape, -np.inf, np.float32)  # padding holds nothing
    widths[balls.is_valid] = radii
    columns = balls.everywhere(balls.blocks), balls.everywhere(widths)
    found = [_collect(_in_any(block, *columns, distances)) for block in rows.rows()]
    return np.concatenate(found)[: rows.num_rows]


def _half(values: Float[Array, "..."]) -> Float[Array, "..."]:
    """Rounded as float16 would be, also where XLA may keep more than an array's type has."""
    return jax.lax.reduce_precision(values, exponent_bits=5, mantissa_bits=10)


def _check_features(reference: np.ndarray, samples: np.ndarray) -> None:
    if reference.shape[1] != samples.shape[1]:
        raise errors.UserError(
            f"features of {reference.shape[1]} and {samples.shape[1]} dimensions cannot be "
            "compared; take features of one network"
        )


def _compared(reference, samples, num_neighbours, distances, block_size, sharding):
    sets = [_Blocks(rows.astype(np.float32), block_size, sharding) for rows in (reference, samples)]
    radii = [_radii(rows, num_neighbours, distances) for rows in sets]
    # Rows are the reference's either way, because rounding may tell rows from columns.
    return PrecisionRecall(
        precision=float(np.mean(_inside(sets[1], sets[0], radii[0], _turned(distances)))),
        recall=float(np.mean(_inside(sets[0], sets[1], radii[1], distances))),
    )


@functools.cache  # one function each, or every call would compile anew
def _turned(distances: Distances) -> Distances:
    return lambda rows, columns: distances(columns, rows).T


@functools.partial(jax.jit, static_argnames=("num_neighbours", "distances"))
def _nearest(
    rows: Float[Array, "n f"],
    columns: Float[Array, "z s f"],
    is_valid: Bool[Array, "z s"],
    num_neighbours: int,
    distances: Distances,
) -> Float[Array, "n"]:
    """Squared distance to the k-th nearest column, the row itself (at 0) not counted."""

    def block(nearest, inputs):
        values, is_real = inputs
        squared = jnp.where(is_real[None, :], distances(rows, values), jnp.inf)
        both = jnp.concatenate([nearest, squared], axis=-1)
        return -jax.lax.top_k(-both, num_neighbours + 1)[0], None

    start = jnp.full((rows.shape[0], num_neighbours + 1), jnp.inf)
    nearest, _ = jax.lax.scan(block, start, (columns, is_valid))
    return nearest[:, -1]


@functools.partial(jax.jit, static_argnames="distances")
def _in_any(
    rows: Float[Array, "n f"],
    columns: Float[Array, "z s f"],
    radii: Float[Array, "z s"],
    distances: Distances,
) -> Bool[Array, "n"]:
    def block(is_inside, inputs):
        values, radius = inputs
        is_near = distances(rows, values) <= radius[None, :]
        return is_inside | jnp.any(is_near, axis=-1), None

    is_inside, _ = jax.lax.scan(block, jnp.zeros(rows.shape[0], bool), (columns, radii))
    return is_inside
