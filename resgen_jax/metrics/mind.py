"""MIND: a sliced Wasserstein distance between sets of features, for few samples.

Host-side NumPy in float64, as the Frechet distance is.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int

from resgen_jax.core import errors

NUM_DIRECTIONS = 1000
SEED = 0  # of the directions, the same for every distance
CHUNK = 100  # directions at a time, for the memory


def mind(features_a: Float[np.ndarray, "n c"], features_b: Float[np.ndarray, "z _"]) -> float:
    """Mean squared 2-Wasserstein distance along `NUM_DIRECTIONS` lines, times c; 0 of equal sets.

    After Berthet et al., arXiv 2605.06797 (Monge Inception Distance): along a line the optimal
    transport is between quantiles, so nothing is fitted, and no covariance has to be estimated. Of
    the paper only the abstract was at hand. The number of directions and the scale are ours: times
    c, a shift by t gives |t|^2, which is what it gives a Frechet distance.

    Sets may have any numbers of rows. Raises UserError for sets of other features, or of none.
    """
    features_a, features_b = (_checked(rows) for rows in (features_a, features_b))
    num_features = features_a.shape[1]
    if features_b.shape[1] != num_features:
        raise errors.UserError(
            f"sets of {num_features} and {features_b.shape[1]} features cannot be compared; take "
            "features of one network"
        )
    rows_a, rows_b, widths = quantiles(len(features_a), len(features_b))
    total = 0.0
    for lines in _chunks(directions(num_features)):
        along_a, along_b = (np.sort(rows @ lines.T, axis=0) for rows in (features_a, features_b))
        total += np.sum(widths[:, None] * (along_a[rows_a] - along_b[rows_b]) ** 2)
    return float(num_features * total / NUM_DIRECTIONS)


def directions(num_features: int) -> Float[np.ndarray, "k c"]:
    """Unit vectors in random directions, the same in every version of NumPy."""
    # The older generator, because its numbers are promised never to change.
    random = np.random.RandomState(SEED)
    normal = random.standard_normal((NUM_DIRECTIONS, num_features))
    return normal / np.linalg.norm(normal, axis=1, keepdims=True)


def quantiles(
    num_a: int, num_b: int
) -> tuple[Int[np.ndarray, "u"], Int[np.ndarray, "u"], Float[np.ndarray, "u"]]:
    """Where the quantile functions of sets of these sizes are constant, both.

    Ranks in a, ranks in b, and the width of each such stretch of [0, 1]; exact for any sizes, since
    the ends are counted in units of 1 / (num_a num_b).
    """
    ends = np.union1d(np.arange(num_a + 1) * num_b, np.arange(num_b + 1) * num_a)
    starts = ends[:-1]
    return starts // num_b, starts // num_a, np.diff(ends) / (num_a * num_b)


def _chunks(lines: Float[np.ndarray, "k c"]) -> Iterator[Float[np.ndarray, "j c"]]:
    for start in range(0, len(lines), CHUNK):
        yield lines[start : start + CHUNK]


def _checked(features: np.ndarray) -> np.ndarray:
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or not features.size:
        raise errors.UserError(
            f"features have shape {features.shape}; expected rows of features, at least one"
        )
    if not np.isfinite(features).all():
        raise errors.UserError("features hold NaN or infinity; check the images and the weights")
    return features
