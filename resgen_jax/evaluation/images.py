"""Samples against real images, through the eyes of the judge."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, UInt8

from resgen_jax.evaluation.judge import Judge
from resgen_jax.metrics import diversity, frechet

Metrics = dict[str, float | None]


class Labelled(NamedTuple):
    """Images and the class of each: its own where they are real, the requested one of samples."""

    images: UInt8[np.ndarray, "n h w c"]
    labels: Int[np.ndarray, "n"]


def judge_samples(
    judge: Judge,
    *,
    train: Labelled,
    held_out: Labelled,
    reconstructions: Labelled,
    samples: Labelled,
) -> Metrics:
    """How right, how close to the real images and how varied the samples are.

    Give reconstructions of training images: a generator learns their codes, so they are the best it
    can do. Each distance is to the training images, as is each variance ratio.

    - `class_agreement`: share of samples that the judge takes for the requested class.
    - `class_agreement_reconstructions`: the same of the reconstructions.
    - `judge_accuracy`: the same of held-out real images; what the judge can be trusted with.
    - `frechet_distance`: of the samples; lower is closer, 0 only for equal sets.
    - `frechet_distance_reconstructions`: of the reconstructions.
    - `frechet_distance_floor`: of held-out real images. The smaller set of two raises a distance,
      so the floor of few held-out images is a little high.
    - `within_class_variance_ratio`: of the samples; 1 = as varied as real images. Guidance, low
      temperature and top-p lower the distance and this ratio alike: read them together.
    - `within_class_variance_ratio_reconstructions`, `within_class_variance_ratio_held_out`.
    - `num_samples`: how many were judged.

    A distance of one image, or a ratio without a class of two images in both sets, is None.
    """
    measured = {
        "samples": samples,
        "reconstructions": reconstructions,
        "held_out": held_out,
    }
    real = judge.features(train.images)
    agreement, distance, ratio = {}, {}, {}
    for name, (images, labels) in measured.items():
        features, logits = judge.outputs(images)
        agreement[name] = float(np.mean(logits.argmax(axis=-1) == labels))
        distance[name] = frechet_between(features, real)
        ratio[name] = variance_ratio(features, labels, real, train.labels)
    return {
        "class_agreement": agreement["samples"],
        "class_agreement_reconstructions": agreement["reconstructions"],
        "judge_accuracy": agreement["held_out"],
        "frechet_distance": distance["samples"],
        "frechet_distance_reconstructions": distance["reconstructions"],
        "frechet_distance_floor": distance["held_out"],
        "within_class_variance_ratio": ratio["samples"],
        "within_class_variance_ratio_reconstructions": ratio["reconstructions"],
        "within_class_variance_ratio_held_out": ratio["held_out"],
        "num_samples": len(samples.images),
    }


def frechet_between(
    features: Float[np.ndarray, "n f"], real: Float[np.ndarray, "z f"]
) -> float | None:
    """Frechet distance of two sets of features, or None where one has no covariance."""
    if min(len(features), len(real)) < 2:
        return None
    first, second = (
        frechet.accumulate(frechet.start(rows.shape[1]), rows) for rows in (features, real)
    )
    return frechet.distance(first, second)


def variance_ratio(
    features: Float[np.ndarray, "n f"],
    labels: Int[np.ndarray, "n"],
    real: Float[np.ndarray, "z f"],
    real_labels: Int[np.ndarray, "z"],
) -> float | None:
    """Within-class variance ratio over the classes that have two images in both sets."""
    classes = sorted(_with_two(labels) & _with_two(real_labels))
    if not classes:
        return None
    kept, real_kept = np.isin(labels, classes), np.isin(real_labels, classes)
    return diversity.within_class_variance_ratio(
        features[kept], labels[kept], real[real_kept], real_labels[real_kept]
    )


def _with_two(labels: np.ndarray) -> set[int]:
    classes, counts = np.unique(labels, return_counts=True)
    return {int(name) for name in classes[counts >= 2]}
