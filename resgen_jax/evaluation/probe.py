"""Class agreement through a feature network: a linear judge of what class an image is of."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from resgen_jax.core import errors

MAX_ITERATIONS = 200
PENALTY = 0.01  # on the weights of standardised features, a share of the mean loss


class Probe(NamedTuple):
    """Logistic regression on standardised features."""

    mean: Float[np.ndarray, "f"]
    deviation: Float[np.ndarray, "f"]
    weight: Float[np.ndarray, "f classes"]
    bias: Float[np.ndarray, "classes"]

    def predict(self, features: Float[np.ndarray, "n f"]) -> Int[np.ndarray, "n"]:
        """The most likely class of each image."""
        scores = (features - self.mean) / self.deviation @ self.weight + self.bias
        return scores.argmax(axis=-1)


def fit(features: Float[np.ndarray, "n f"], labels: Int[np.ndarray, "n"]) -> Probe:
    """The probe of these real images; UserError for fewer than two classes."""
    from sklearn import linear_model  # a second of import

    classes = np.unique(labels)
    if len(classes) < 2:
        raise errors.UserError(
            f"{len(classes)} class: a judge of classes needs images of two or more"
        )
    mean, deviation = features.mean(axis=0), np.maximum(features.std(axis=0), 1e-6)
    regression = linear_model.LogisticRegression(
        C=1 / (PENALTY * len(features)), max_iter=MAX_ITERATIONS
    )
    regression.fit((features - mean) / deviation, labels)
    weight = np.zeros((features.shape[1], int(classes.max()) + 1))
    bias = np.full(weight.shape[1], -np.inf)  # a class without images is never named
    if len(classes) == 2:  # one score, for the second of the two
        weight[:, classes[1]], bias[classes] = regression.coef_[0], (0.0, regression.intercept_[0])
    else:
        weight[:, classes], bias[classes] = regression.coef_.T, regression.intercept_
    return Probe(mean, deviation, weight, bias)


def agreement(
    probe: Probe, features: Float[np.ndarray, "n f"], labels: Int[np.ndarray, "n"]
) -> float:
    """Share of the images that the probe takes for the class they were asked for."""
    return float(np.mean(probe.predict(features) == labels))
