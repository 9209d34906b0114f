"""How varied samples are within their class, beside how close they are to the data."""

import numpy as np
from jaxtyping import Float, Int

from resgen_jax.core import errors


def within_class_variance(
    features: Float[np.ndarray, "n c"], labels: Int[np.ndarray, "n"]
) -> dict[int, float]:
    """Unbiased variance of the features of each class, summed over the features.

    Raises UserError for a class with a single row, which has no variance.
    """
    features = np.asarray(features, np.float64)
    variance = {}
    for label in np.unique(labels):
        members = features[labels == label]
        if len(members) < 2:
            raise errors.UserError(f"class {label} has 1 row of features; a variance takes 2")
        variance[int(label)] = float(members.var(axis=0, ddof=1).sum())
    return variance


def within_class_variance_ratio(
    features_a: Float[np.ndarray, "n c"],
    labels_a: Int[np.ndarray, "n"],
    features_b: Float[np.ndarray, "z c"],
    labels_b: Int[np.ndarray, "z"],
) -> float:
    """Mean within-class variance of set a over that of set b, on the classes of a.

    With samples as a and real images as b, 1 is as varied as the data and 0 is one image a class.
    Raises UserError when b lacks a class of a or has no variance.
    """
    variance_a = within_class_variance(features_a, labels_a)
    variance_b = within_class_variance(features_b, labels_b)
    if missing := sorted(variance_a.keys() - variance_b.keys()):
        raise errors.UserError(f"classes {missing} have no features to compare with")
    total_b = sum(variance_b[label] for label in variance_a)
    if not total_b > 0:
        raise errors.UserError("the features to compare with do not vary; expected different rows")
    return sum(variance_a.values()) / total_b
