"""Samples of a generator held against real images: opened once, measured under any settings."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, cast

import numpy as np

from resgen_jax.core import errors
from resgen_jax.data import sources
from resgen_jax.evaluation import distances, features, judge_features, reference
from resgen_jax.evaluation import images as image_measures
from resgen_jax.runs import (
    evaluate_files,
    evaluation_request,
    guiding,
    judging,
    measuring,
    open_run,
    progress,
    reconstruct,
    sampling,
)

# Features, logits and classes asked for -> figures of how right and how varied the samples are.
Judging = Callable[[features.Collected, np.ndarray], dict[str, float]]


class Models(NamedTuple):
    """What samples are drawn by."""

    generator: open_run.GeneratorRun
    tokenizer: open_run.TokenizerRun


class Space(NamedTuple):
    """A network, what samples are compared with in its features, and who judges their classes."""

    extractor: features.Extractor
    compared: reference.Reference
    described: dict[str, Any]  # what a record says of it
    judging: Judging | None = None


class Compared(NamedTuple):
    """The spaces that samples are measured in, and the judge that was asked for, if any."""

    spaces: Sequence[Space]
    kept: judging.Kept | None = None

    @property
    def extractors(self) -> list[features.Extractor]:
        """The networks of all spaces."""
        return [space.extractor for space in self.spaces]

    @property
    def facts(self) -> dict[str, Any]:
        """What a record says of the reference, the networks and the judge."""
        return {
            "reference": evaluate_files.one_or_all([space.described for space in self.spaces]),
            "features": evaluate_files.one_or_all(
                [evaluate_files.describe(extractor) for extractor in self.extractors]
            ),
            "judge": self.kept and self.kept.facts,
        }


def open_models(request: evaluation_request.Request) -> Models:
    """The generator of a run and its tokenizer; UserError for a request that contradicts itself."""
    if request.judge and request.reference:
        raise errors.UserError(
            "--judge is of the tokenizer's training images, and --reference takes others; leave "
            "one of them out"
        )
    generator = open_run.open_generator(cast(str, request.workdir), progress.say)
    tokenizer = open_run.open_tokenizer_for(generator, request.tokenizer, progress.say)
    return Models(guiding.guided(generator, request.guide, progress.say), tokenizer)


def labels_of(request: evaluation_request.Request, models: Models, seed: int) -> np.ndarray:
    """The class asked for of each sample, in the order in which they are drawn."""
    num_classes = len(models.generator.meta.class_names)
    asked = sampling.labels_for(request.labels, None, num_classes, request.num_samples, seed)
    return asked[order_of(request, seed)]


def order_of(request: evaluation_request.Request, seed: int) -> np.ndarray:
    """The numbers of the samples in the order in which they are drawn: shuffled from the seed."""
    return np.random.default_rng(seed).permutation(request.num_samples)


def stream(
    drawer: sampling.Drawer, request: evaluation_request.Request, models: Models, seed: int
) -> Iterator[sampling.Batch]:
    """The samples that a request asks for, in the order of `order_of`."""
    generator = models.generator
    num_classes = len(generator.meta.class_names)
    return drawer.stream(
        generator.mesh,
        generator.params,
        generator.codebooks,
        sampling.labels_for(request.labels, None, num_classes, request.num_samples, seed),
        seed,
        request.batch_size,
        order=order_of(request, seed),
    )


def collect(
    compared: Compared, batches: Iterator[sampling.Batch], num_samples: int, name: str = "sample"
) -> list[features.Collected]:
    """Features of the samples in every space; each is decoded once."""
    with progress.phase(name, num_samples) as report:
        return measuring.collect_samples(
            compared.extractors,
            batches,
            keeps_features=any(space.compared.features is not None for space in compared.spaces),
            report=report,
        )


def compare(request: evaluation_request.Request, models: Models) -> Compared:
    """What samples are compared with: the tokenizer's training images, or `--reference`."""
    meta = models.generator.meta
    if not request.reference:
        return _with_training_images(request, models)
    shape = (meta.image_size, meta.image_size, meta.channels)
    extractors = evaluate_files.open_extractors(request)
    crop = request.crop or evaluate_files.CROP
    read = evaluate_files.read_references(request, extractors, shape, crop)
    return Compared([Space(one, *found) for one, found in zip(extractors, read, strict=True)])


def images_of(request: evaluation_request.Request, models: Models) -> sources.Dataset:
    """The images that the tokenizer was trained on, or `--images`, cropped to be measured."""
    crop = request.crop or models.tokenizer.config.data.crop
    return reconstruct.measured_images(models.tokenizer, request.images, crop)


def figures(
    request: evaluation_request.Request,
    compared: Compared,
    collected: Sequence[features.Collected],
    labels: np.ndarray,
    note: Callable[[str], None] = progress.say,
) -> dict[str, float]:
    """What all networks say of one set of samples: distances, and the verdicts on their classes."""
    metrics: dict[str, float] = {}
    for space, found in zip(compared.spaces, collected, strict=True):
        measured = distances.measure(
            space.extractor,
            found,
            space.compared,
            manifolds=evaluate_files.manifolds(request),
            note=note,
            sharding=measuring.batch_sharding(space.extractor),
        )
        distances.check_apart(space.extractor.network.distance_name, measured, space.compared)
        metrics |= measured
        if space.judging is not None:
            metrics |= space.judging(found, labels)
    return metrics


def _with_training_images(request: evaluation_request.Request, models: Models) -> Compared:
    """Spaces with statistics of the tokenizer's training images, and the judge of these."""
    data = models.tokenizer.config.data
    dataset = images_of(request, models)
    extractors = evaluate_files.open_extractors(request)
    kept = None
    if request.judge:
        kept = judging.of(dataset, request.judge, num_threads=data.num_threads)
        network, params = judge_features.network(kept.judge_of_images)
        mesh = extractors[0].mesh
        extractors.append(features.Extractor(network, params, mesh, kept.files))
    settings: dict[str, Any] = {
        "num_images": request.num_images,
        "batch_size": request.batch_size,
        "num_threads": data.num_threads,
    }
    has_classes = len(models.generator.meta.class_names) > 1
    spaces = []
    for extractor in extractors:
        found = measuring.reference_of(
            request.statistics or cast(str, request.workdir),
            "train",
            dataset,
            extractor,
            crop=request.crop or data.crop,
            **settings,
        )
        described = {"what": "the tokenizer's training images", **found.facts}
        is_judge = extractor.network.name == judge_features.NAME
        judges: Judging | None = None
        if kept is not None and is_judge:
            judges = _by_judge(kept, dataset, found, request.num_images)
        elif kept is None and has_classes:
            judges = _by_regression(dataset, found, extractor, settings)
        spaces.append(Space(extractor, found, described, judges))
    return Compared(spaces, kept)


def _by_regression(
    dataset: sources.Dataset,
    compared: reference.Reference,
    extractor: features.Extractor,
    settings: dict[str, Any],
) -> Judging:
    judge, accuracy = measuring.judge_of(dataset, compared, extractor, **settings)
    end = distances.suffix(extractor.network.distance_name)
    real_labels = measuring.kept_labels(dataset, settings["num_images"])

    def verdict(found: features.Collected, labels: np.ndarray) -> dict[str, float]:
        agreement = float(np.mean(judge.predict(found.features) == labels))
        return {
            f"class_agreement{end}": agreement,
            **accuracy,
            **_variety(end, found, labels, compared, real_labels),
        }

    return verdict


def _by_judge(
    kept: judging.Kept,
    dataset: sources.Dataset,
    compared: reference.Reference,
    num_images: int,
) -> Judging:
    real_labels = measuring.kept_labels(dataset, num_images)

    def verdict(found: features.Collected, labels: np.ndarray) -> dict[str, float]:
        logits = cast(np.ndarray, found.logits)
        return {
            "class_agreement-judge": float(np.mean(logits.argmax(axis=-1) == labels)),
            "judge_accuracy-judge": kept.facts["accuracy"],
            **_variety("-judge", found, labels, compared, real_labels),
        }

    return verdict


def _variety(
    end: str,
    found: features.Collected,
    labels: np.ndarray,
    compared: reference.Reference,
    real_labels: np.ndarray,
) -> dict[str, float]:
    """Variance within a class over that of the training images, where a class is there twice."""
    real = cast(np.ndarray, compared.features)
    ratio = image_measures.variance_ratio(found.features, labels, real, real_labels)
    return {} if ratio is None else {f"variety{end}": ratio}
