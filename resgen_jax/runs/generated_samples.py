"""Samples of a generator held against real images: opened once, measured under any settings."""

from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, cast

import numpy as np

from resgen_jax.data import spread
from resgen_jax.evaluation import distances, features, probe, reference
from resgen_jax.metrics import diversity
from resgen_jax.runs import (
    evaluate_files,
    evaluation_request,
    guiding,
    measuring,
    open_run,
    progress,
    reconstruct,
    sampling,
)


class Models(NamedTuple):
    """What samples are drawn and measured by."""

    generator: open_run.GeneratorRun
    tokenizer: open_run.TokenizerRun
    extractor: features.Extractor


class Compared(NamedTuple):
    """What samples are compared with; no judge where classes are not known, or only one."""

    reference: reference.Reference
    described: dict[str, Any]  # what a record says of it
    judge: probe.Probe | None = None
    judge_accuracy: Mapping[str, float] = MappingProxyType({})
    labels: np.ndarray | None = None  # of the images whose features the reference holds


def open_models(request: evaluation_request.Request) -> Models:
    """The generator of a run, its tokenizer and the feature network."""
    generator = open_run.open_generator(cast(str, request.workdir), progress.say)
    tokenizer = open_run.open_tokenizer_for(generator, request.tokenizer, progress.say)
    generator = guiding.guided(generator, request.guide, progress.say)
    return Models(generator, tokenizer, evaluate_files.open_extractor(request))


def labels_of(request: evaluation_request.Request, models: Models) -> np.ndarray:
    """The class asked for of each sample."""
    num_classes = len(models.generator.meta.class_names)
    return sampling.labels_for(request.labels, None, num_classes, request.num_samples, request.seed)


def order_of(request: evaluation_request.Request) -> np.ndarray:
    """The numbers of the samples in the order in which they are drawn: shuffled from the seed."""
    return np.random.default_rng(request.seed).permutation(request.num_samples)


def stream(
    drawer: sampling.Drawer, request: evaluation_request.Request, models: Models
) -> Iterator[sampling.Batch]:
    """The samples that a request asks for, in the order of `order_of`."""
    generator = models.generator
    return drawer.stream(
        generator.mesh,
        generator.params,
        generator.codebooks,
        labels_of(request, models),
        request.seed,
        request.batch_size,
        order=order_of(request),
    )


def compare(request: evaluation_request.Request, models: Models) -> Compared:
    """The training images of the tokenizer, or `--reference`; with classes a judge of them."""
    meta = models.generator.meta
    if request.reference:
        shape = (meta.image_size, meta.image_size, meta.channels)
        crop = request.crop or evaluate_files.CROP
        return Compared(*evaluate_files.read_reference(request, models.extractor, shape, crop))
    data = models.tokenizer.config.data
    crop = request.crop or data.crop
    dataset = reconstruct.measured_images(models.tokenizer, request.images, crop)
    how: Any = {
        "num_images": request.num_images,
        "batch_size": request.batch_size,
        "num_threads": data.num_threads,
    }
    workdir, extractor = cast(str, request.workdir), models.extractor
    found = measuring.reference_of(workdir, "train", dataset, extractor, crop=crop, **how)
    compared = Compared(found, {"what": "the tokenizer's training images", **found.facts})
    if len(meta.class_names) < 2:
        return compared
    train = spread.Spread(dataset.train, request.num_images or len(dataset.train))
    numbers = np.array(train.chosen)[list(reference.kept_rows(len(train)))]
    judge, accuracy = measuring.judge_of(dataset, found, extractor, **how)
    labels = np.array([dataset.train.label(int(number)) for number in numbers])
    return compared._replace(judge=judge, judge_accuracy=accuracy, labels=labels)


def metrics(
    request: evaluation_request.Request,
    models: Models,
    compared: Compared,
    collected: features.Collected,
) -> dict[str, float]:
    """Distances and what goes with them, and the judge's verdict, of samples out of `stream`."""
    extractor = models.extractor
    found = distances.measure(
        extractor,
        collected,
        compared.reference,
        manifolds=evaluate_files.manifolds(request),
        note=progress.say,
        sharding=measuring.batch_sharding(extractor),
    )
    if compared.judge is not None:
        end = distances.suffix(extractor.network.distance_name)
        asked = labels_of(request, models)[order_of(request)]
        agreement = probe.agreement(compared.judge, collected.features, asked)
        found |= {f"class_agreement{end}": agreement, **compared.judge_accuracy}
    return found


def variety(
    request: evaluation_request.Request,
    models: Models,
    compared: Compared,
    collected: features.Collected,
) -> float | None:
    """Variance of features within a class over that of the training images: 1 is as varied.

    Over the classes that both have twice; None where there is none, or classes are not known.
    """
    real = compared.reference.features
    if compared.labels is None or real is None or collected.features is None:
        return None
    asked = labels_of(request, models)[order_of(request)]
    both = [
        label
        for label in np.unique(asked)
        if min(np.sum(asked == label), np.sum(compared.labels == label)) > 1
    ]
    if not both:
        return None
    is_in, is_real = np.isin(asked, both), np.isin(compared.labels, both)
    return diversity.within_class_variance_ratio(
        collected.features[is_in], asked[is_in], real[is_real], compared.labels[is_real]
    )
