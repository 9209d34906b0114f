"""Inception score: how sure a classifier is of each image, and how varied its answers are.

exp of the mean KL divergence from the mean of the class probabilities (Salimans et al. 2016).
Host-side NumPy in float64, from logits.
"""

import itertools

import numpy as np
import scipy.special
from jaxtyping import Float

from resgen_jax.core import errors

SPLIT_SIZE = 5000  # rows a split in the ADM evaluator
NUM_SPLITS, SHUFFLE_SEED = 10, 2020  # of torch-fidelity


def of_rows(logits: Float[np.ndarray, "n k"]) -> float:
    """The score of all rows as one split; from 1 to the number of classes."""
    if logits.ndim != 2 or not len(logits):
        raise errors.UserError(
            f"logits have shape {logits.shape}; expected one row of class scores an image"
        )
    logits = np.asarray(logits, np.float64)
    if not np.isfinite(logits).all():
        raise errors.UserError("the logits hold NaN or infinity; check the images")
    log_probs = scipy.special.log_softmax(logits, axis=-1)
    probs = np.exp(log_probs)
    log_mean = np.log(np.maximum(probs.mean(axis=0), np.finfo(np.float64).tiny))
    return float(np.exp(np.sum(probs * (log_probs - log_mean), axis=-1).mean()))


def by_file_order(logits: Float[np.ndarray, "n k"], split_size: int = SPLIT_SIZE) -> float:
    """Mean score over splits of `split_size` rows in the order given; the last may be short.

    The ADM evaluator's form (guided-diffusion, evaluations/evaluator.py). Images sorted by class
    make every split poor in classes and so lower the score: shuffle before saving.
    """
    starts = range(0, max(len(logits), 1), split_size)
    return float(np.mean([of_rows(logits[start : start + split_size]) for start in starts]))


def shuffled(
    logits: Float[np.ndarray, "n k"], num_splits: int = NUM_SPLITS, seed: int = SHUFFLE_SEED
) -> tuple[float, float]:
    """Mean and standard deviation over `num_splits` splits of shuffled rows.

    torch-fidelity's form, with its order of the rows. Raises UserError for fewer rows than splits.
    """
    if len(logits) < num_splits:
        raise errors.UserError(
            f"{len(logits)} rows of logits for {num_splits} splits; give more images, or fewer "
            "splits"
        )
    order = np.random.RandomState(seed).permutation(len(logits))
    bounds = [part * len(logits) // num_splits for part in range(num_splits + 1)]
    scores = [of_rows(logits[order[start:end]]) for start, end in itertools.pairwise(bounds)]
    return float(np.mean(scores)), float(np.std(scores))
