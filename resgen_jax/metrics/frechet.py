"""Frechet distance between Gaussians, and the moments of a stream of features.

Host-side NumPy in float64: a distance is a difference of large traces, which float32 loses.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float

from resgen_jax.core import errors


class Moments(NamedTuple):
    """Count, mean and centred scatter of the rows seen so far; `start` holds none."""

    num_rows: int
    mean: Float[np.ndarray, "c"]
    scatter: Float[np.ndarray, "c c"]


def start(num_features: int) -> Moments:
    """Moments of no rows."""
    return Moments(0, np.zeros(num_features), np.zeros((num_features, num_features)))


def accumulate(moments: Moments, features: Float[np.ndarray, "n c"]) -> Moments:
    """Moments with the rows of `features` added; their order does not matter."""
    features = np.asarray(features, np.float64)
    if features.ndim != 2 or features.shape[1] != len(moments.mean):
        raise errors.UserError(
            f"features have shape {features.shape}; expected rows of {len(moments.mean)}"
        )
    if not len(features):
        return moments
    mean = features.mean(axis=0)
    centred = features - mean
    return merge(moments, Moments(len(features), mean, centred.T @ centred))


def merge(first: Moments, second: Moments) -> Moments:
    """Moments of both sets of rows together (the parallel form of Chan, Golub and LeVeque)."""
    num_rows = first.num_rows + second.num_rows
    if not num_rows:
        return first
    shift = second.mean - first.mean
    mean = first.mean + shift * (second.num_rows / num_rows)
    between = np.outer(shift, shift) * (first.num_rows * second.num_rows / num_rows)
    return Moments(num_rows, mean, first.scatter + second.scatter + between)


def covariance(moments: Moments) -> Float[np.ndarray, "c c"]:
    """Unbiased covariance, as every FID implementation takes it."""
    if moments.num_rows < 2:
        raise errors.UserError(f"{moments.num_rows} row of features; a covariance takes at least 2")
    return moments.scatter / (moments.num_rows - 1)


def shortage(num_rows: int, num_features: int) -> str | None:
    """What to tell of a covariance that has fewer rows than it needs, None where there are enough.

    Such a covariance is singular: the distance stays finite but is too large.
    """
    if num_rows > num_features:
        return None
    return (
        f"{num_rows} images are too few for a covariance of {num_features} features (it takes more "
        "than that, and 50,000 are usual): the distance is biased upwards and compares only with "
        "those of as many images"
    )


def frechet_distance(
    mean_a: Float[np.ndarray, "c"],
    cov_a: Float[np.ndarray, "c c"],
    mean_b: Float[np.ndarray, "c"],
    cov_b: Float[np.ndarray, "c c"],
) -> float:
    """|mean_a - mean_b|^2 + tr(cov_a + cov_b - 2 (cov_a cov_b)^(1/2)); 0 for equal Gaussians.

    For A = R'R and B = S'S, tr (AB)^(1/2) is the sum of the singular values of RS', which stays
    accurate for singular covariances (fewer samples than features), where the root of the product
    does not. The ADM evaluator takes scipy's root of the product, adds 1e-6 to both diagonals where
    that is not finite, and drops what is imaginary: equal to this where the covariances have full
    rank; here nothing has to be added.
    """
    mean_a, cov_a = _checked(mean_a, cov_a)
    mean_b, cov_b = _checked(mean_b, cov_b)
    if mean_a.shape != mean_b.shape:
        raise errors.UserError(
            f"Gaussians of {len(mean_a)} and {len(mean_b)} dimensions cannot be compared; take "
            "features of one network"
        )
    overlap = np.linalg.svd(_factor(cov_a) @ _factor(cov_b).T, compute_uv=False).sum()
    apart = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a) + np.trace(cov_b) - 2 * overlap
    return max(float(apart), 0.0)


def distance(first: Moments, second: Moments) -> float:
    """Frechet distance between the Gaussians fitted to two sets of features."""
    return frechet_distance(first.mean, covariance(first), second.mean, covariance(second))


def _checked(mean, cov) -> tuple[np.ndarray, np.ndarray]:
    mean, cov = np.asarray(mean, np.float64), np.asarray(cov, np.float64)
    if mean.ndim != 1 or cov.shape != 2 * mean.shape:
        raise errors.UserError(
            f"mean of shape {mean.shape} with covariance of shape {cov.shape}; expected c and c x c"
        )
    if not (np.isfinite(mean).all() and np.isfinite(cov).all()):
        raise errors.UserError("mean or covariance holds NaN or infinity; check the features")
    return mean, cov


def _factor(cov: np.ndarray) -> np.ndarray:
    """R of cov = R'R with as many rows as the rank: a pivoted Cholesky factor."""
    upper, pivots, rank, _ = scipy.linalg.lapack.dpstrf((cov + cov.T) / 2)
    factor = np.empty((rank, len(cov)))
    factor[:, pivots - 1] = np.triu(upper)[:rank]
    return factor
