"""Measuring a generator: its samples against real images, in every feature space there is."""

import dataclasses
from typing import Any

import numpy as np

from resgen_jax.runs import evaluation_request, generated_samples, progress, sampling


def generated(request: evaluation_request.Request) -> dict[str, Any]:
    """Metrics of new samples against the training images, or `--reference`.

    Against images whose classes are known, a judge says how many samples are of the class asked
    for, and how many held-out images it gets right: the one in `--judge`, or a regression on the
    features of each network. Of several seeds the metrics are means, with the spread beside them.
    """
    models = generated_samples.open_models(request)
    generator = models.generator
    spec = sampling.spec_with(generator.config, request.knobs)
    drawer = sampling.Drawer(generator.model, spec, models.tokenizer)
    seeds = [request.seed + number for number in range(request.num_seeds)]
    # What is wrong with them is told now.
    streams = [generated_samples.stream(drawer, request, models, seed) for seed in seeds]
    compared = generated_samples.compare(request, models)
    by_seed: list[dict[str, float]] = []
    for seed, batches in zip(seeds, streams, strict=True):
        name = "sample" if len(seeds) == 1 else f"sample, seed {seed}"
        collected = generated_samples.collect(compared, batches, request.num_samples, name)
        labels = generated_samples.labels_of(request, models, seed)
        note = progress.say if not by_seed else lambda text: None
        by_seed.append(generated_samples.figures(request, compared, collected, labels, note))
    return {
        "measured": "samples of a generator",
        "workdir": request.workdir,
        "step": generator.step,
        "tokenizer": {"step": models.tokenizer.step},
        "samples": {
            "num_images": request.num_samples,
            "labels": request.labels,
            "image_size": [generator.meta.image_size] * 2,
        },
        "sampler": dataclasses.asdict(spec),
        "guide": request.guide,
        "seed": request.seed,
        **over_seeds(seeds, by_seed),
        **compared.facts,
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
