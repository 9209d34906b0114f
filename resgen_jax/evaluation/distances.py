"""Collected features against a reference, under names that say which network they are of."""

from collections.abc import Callable, Mapping

import numpy as np
from jax.sharding import NamedSharding

from resgen_jax.core import errors
from resgen_jax.evaluation import features, reference
from resgen_jax.metrics import frechet, inception_score, mind, precision_recall

MIND = "MIND"
# Below this share of the variance of the reference, a distance is one of rounding.
ROUNDING = 1e-9
FID = "FID"  # the name of Inception's distance, and of no other's

# How precision and recall are taken, by what stands behind these words in a metric's name.
Manifolds = Mapping[str, Callable[..., precision_recall.PrecisionRecall]]
FLOAT32: Manifolds = {"": precision_recall.precision_recall}
WITH_ADM: Manifolds = {**FLOAT32, "_adm": precision_recall.adm_precision_recall}


def suffix(distance_name: str) -> str:
    """What every other metric of the network carries in its name: nothing for Inception."""
    return "" if distance_name == FID else "-" + distance_name.removeprefix("FD-")


def measure(
    extractor: features.Extractor,
    collected: features.Collected,
    compared: reference.Reference,
    *,
    prefix: str = "",
    manifolds: Manifolds = FLOAT32,
    note: Callable[[str], None] = lambda text: None,
    sharding: NamedSharding | None = None,
) -> dict[str, float]:
    """All that the features allow; the distance is `FID` or, of another network, `FD-<name>`.

    - `FID`: Frechet distance of the pooled features; `sFID`: of Inception's spatial ones.
    - `MIND`: sliced Wasserstein distance, where the features of single images are there.
    - `IS`: inception score, splits of 5,000 in the order of the samples.
    - `precision`, `recall`: with k = 3, where the features of single images are there;
      `precision_adm`, `recall_adm` of `WITH_ADM`: by distances in float16.

    `prefix` stands before distances and score: r for reconstructions. `note` hears of too few
    samples or reference images.
    """
    name = extractor.network.distance_name
    end = suffix(name)
    counts = [collected.moments.num_rows, compared.facts.get("num_images")]
    # Once, of the smaller set: statistics of unknown origin do not say how many images they are of.
    num_rows = min(count for count in counts if count is not None)
    if told := frechet.shortage(num_rows, extractor.network.num_features):
        note(told)
    metrics = {prefix + name: _distance(collected.moments, compared.pooled)}
    if len(collected.features) and compared.features is not None:
        metrics[f"{prefix}{MIND}{end}"] = mind.mind(compared.features, collected.features)
    if name == FID and collected.spatial is not None and compared.spatial is not None:
        metrics[f"{prefix}s{FID}"] = _distance(collected.spatial, compared.spatial)
    if collected.logits is not None:
        metrics[f"{prefix}IS{end}"] = inception_score.by_file_order(collected.logits)
    if _are_enough(collected.features) and _are_enough(compared.features):
        for word, manifold in manifolds.items():
            found = manifold(compared.features, collected.features, sharding=sharding)
            metrics[f"precision{word}{end}"], metrics[f"recall{word}{end}"] = found
    return metrics


def check_apart(
    distance_name: str, metrics: Mapping[str, float], compared: reference.Reference
) -> None:
    """Raises UserError where the distances of samples are none: a report would praise a mistake."""
    least = ROUNDING * float(np.trace(compared.pooled.cov))
    for name in (distance_name, f"{MIND}{suffix(distance_name)}"):
        if name in metrics and not metrics[name] > least:
            raise errors.UserError(
                f"{name} is {metrics[name]:.3g}: the samples are the reference itself, or neither "
                "varies; compare with other images"
            )


def _are_enough(rows: np.ndarray | None) -> bool:
    return rows is not None and len(rows) > precision_recall.NUM_NEIGHBOURS


def _distance(moments: frechet.Moments, compared: reference.Gaussian) -> float:
    return frechet.frechet_distance(*reference.gaussian(moments), *compared)
