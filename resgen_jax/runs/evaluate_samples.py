"""Measuring a generator: its samples against real images, in every feature space there is."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple, cast

import numpy as np

from resgen_jax.core import errors
from resgen_jax.data import sources
from resgen_jax.evaluation import distances, features, judge_features, reference
from resgen_jax.evaluation import images as image_measures
from resgen_jax.runs import (
    evaluate_files,
    evaluation_request,
    judging,
    measuring,
    open_run,
    progress,
    reconstruct,
    sampling,
)

# Features, logits and classes asked for -> figures of how right the samples are.
Judging = Callable[[features.Collected, np.ndarray], dict[str, float]]


class Space(NamedTuple):
    """A network, what samples are compared with in its features, and who judges their classes."""

    extractor: features.Extractor
    compared: reference.Reference
    described: dict[str, Any]
    judging: Judging | None


def generated(request: evaluation_request.Request) -> dict[str, Any]:
    """Metrics of new samples against the training images, or `--reference`.

    Against images whose classes are known, a judge says how many samples are of the class asked
    for, and how many held-out images it gets right: the one in `--judge`, or a regression on the
    features of each network. Of several seeds the metrics are means, with the spread beside them.
    """
    workdir = cast(str, request.workdir)
    if request.judge and request.reference:
        raise errors.UserError(
            "--judge is of the tokenizer's training images, and --reference takes others; leave "
            "one of them out"
        )
    generator = open_run.open_generator(workdir, progress.say)
    spec = sampling.spec_with(generator.config, request.knobs)
    num_classes, meta = len(generator.meta.class_names), generator.meta
    draws = [
        _draw(request, num_classes, request.seed + number) for number in range(request.num_seeds)
    ]
    tokenizer = open_run.open_tokenizer_for(generator, request.tokenizer, progress.say)
    drawer = sampling.Drawer(generator.model, spec, tokenizer)
    shape = (meta.image_size, meta.image_size, meta.channels)
    kept: judging.Kept | None = None
    if request.reference:
        spaces = _against_reference(request, shape)
    else:
        spaces, kept = _against_training(request, tokenizer, num_classes)
    extractors = [space.extractor for space in spaces]
    by_seed: list[dict[str, float]] = []
    for seed, labels, order in draws:
        batches = drawer.stream(
            generator.mesh,
            generator.params,
            generator.codebooks,
            labels,
            seed,
            request.batch_size,
            order=order,
        )
        name = "sample" if len(draws) == 1 else f"sample, seed {seed}"
        with progress.phase(name, len(labels)) as report:
            collected = measuring.collect_samples(
                extractors,
                batches,
                keeps_features=any(space.compared.features is not None for space in spaces),
                report=report,
            )
        note = progress.say if not by_seed else lambda text: None
        by_seed.append(_figures(request, spaces, collected, labels[order], note))
    return {
        "measured": "samples of a generator",
        "workdir": request.workdir,
        "step": generator.step,
        "tokenizer": {"step": tokenizer.step},
        "samples": {
            "num_images": request.num_samples,
            "labels": request.labels,
            "image_size": [meta.image_size, meta.image_size],
        },
        "sampler": dataclasses.asdict(spec),
        "seed": request.seed,
        **over_seeds([seed for seed, _, _ in draws], by_seed),
        "reference": evaluate_files.one_or_all([space.described for space in spaces]),
        "features": evaluate_files.one_or_all(list(map(evaluate_files.describe, extractors))),
        "judge": kept and kept.facts,
    }


def over_seeds(seeds: list[int], by_seed: list[dict[str, float]]) -> dict[str, Any]:
    """The mean of each metric over the seeds; of several, its spread and the values themselves.

    The spread is the largest value less the smallest.
    """
    values = {name: [found[name] for found in by_seed] for name in by_seed[0]}
    metrics = {name: float(np.mean(column)) for name, column in values.items()}
    if len(seeds) == 1:
        return {"metrics": metrics}
    spread = {name: float(np.ptp(column)) for name, column in values.items()}
    return {"metrics": metrics, "spread": spread, "seeds": seeds, "by_seed": values}


def _draw(
    request: evaluation_request.Request, num_classes: int, seed: int
) -> tuple[int, np.ndarray, np.ndarray]:
    """A seed, the classes to draw by it, and the order in which they are measured."""
    labels = sampling.labels_for(request.labels, None, num_classes, request.num_samples, seed)
    return seed, labels, np.random.default_rng(seed).permutation(len(labels))


def _figures(request, spaces, collected, labels, note) -> dict[str, float]:
    """What all networks say of one set of samples."""
    metrics: dict[str, float] = {}
    for space, found in zip(spaces, collected, strict=True):
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


def _against_reference(request: evaluation_request.Request, shape: tuple) -> list[Space]:
    extractors = evaluate_files.open_extractors(request)
    crop = request.crop or evaluate_files.CROP
    read = evaluate_files.read_references(request, extractors, shape, crop)
    return [Space(one, *found, None) for one, found in zip(extractors, read, strict=True)]


def _against_training(
    request: evaluation_request.Request, tokenizer: open_run.TokenizerRun, num_classes: int
) -> tuple[list[Space], judging.Kept | None]:
    """Spaces with statistics of the tokenizer's training images, and the judge of these."""
    data = tokenizer.config.data
    crop = request.crop or data.crop
    dataset = reconstruct.measured_images(tokenizer, request.images, crop)
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
    spaces = []
    for extractor in extractors:
        compared = measuring.reference_of(
            cast(str, request.workdir), "train", dataset, extractor, crop=crop, **settings
        )
        described = {"what": "the tokenizer's training images", **compared.facts}
        is_judge = extractor.network.name == judge_features.NAME
        judges: Judging | None = None
        if kept is not None and is_judge:
            judges = _by_judge(kept, dataset, compared, request.num_images)
        elif kept is None and num_classes > 1:
            judges = _by_regression(dataset, compared, extractor, settings)
        spaces.append(Space(extractor, compared, described, judges))
    return spaces, kept


def _by_regression(dataset, compared, extractor, settings) -> Judging:
    judge, accuracy = measuring.judge_of(dataset, compared, extractor, **settings)
    end = distances.suffix(extractor.network.distance_name)

    def figures(found, labels):
        agreement = float(np.mean(judge.predict(found.features) == labels))
        return {f"class_agreement{end}": agreement, **accuracy}

    return figures


def _by_judge(
    kept: judging.Kept,
    dataset: sources.Dataset,
    compared: reference.Reference,
    num_images: int,
) -> Judging:
    real_labels = measuring.kept_labels(dataset, num_images)
    accuracy = kept.facts["accuracy"]

    def figures(found, labels):
        agreement = float(np.mean(found.logits.argmax(axis=-1) == labels))
        metrics = {"class_agreement-judge": agreement, "judge_accuracy-judge": accuracy}
        real = cast(np.ndarray, compared.features)
        ratio = image_measures.variance_ratio(found.features, labels, real, real_labels)
        return metrics if ratio is None else {**metrics, "variety-judge": ratio}

    return figures
