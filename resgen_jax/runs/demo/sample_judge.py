"""The judge of the demo: trained on the real images, it measures whatever samples it is shown."""

import dataclasses
from typing import Any, NamedTuple

import jax
import numpy as np

from resgen_jax.data import codes, pipeline, sources, spread
from resgen_jax.evaluation import images as image_measures
from resgen_jax.evaluation import judge
from resgen_jax.runs import open_run, progress, sampling
from resgen_jax.runs.demo import plans

MAX_JUDGED = 10_000  # real images that the judge sees; more would not fit every memory


class SampleJudge(NamedTuple):
    """A judge, and the images that samples are compared with."""

    judge_of_images: judge.Judge
    real: image_measures.Labelled
    held_out: image_measures.Labelled
    reconstructions: image_measures.Labelled
    class_names: tuple[str, ...]

    def judge(self, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
        """The figures of these samples, uint8 "n h w c" and the classes asked for."""
        return image_measures.judge_samples(
            self.judge_of_images,
            train=self.real,
            held_out=self.held_out,
            reconstructions=self.reconstructions,
            samples=image_measures.Labelled(images, labels),
        )


def train(plan: plans.Plan) -> SampleJudge:
    """A judge trained on the demo's images."""
    spec = plan.tokenizer.data
    dataset = sources.open_images(spec)
    real = _in_memory(dataset.train, spec, spec.max_unreadable)
    held_out = _in_memory(dataset.held_out, spec, 0)
    judge_spec = dataclasses.replace(judge.SPEC, num_steps=plan.judge_steps)
    with progress.phase("judge", judge_spec.num_steps) as report:
        trained_judge = judge.train(
            jax.random.key(0),
            real.images,
            real.labels,
            len(dataset.class_names),
            judge_spec,
            lambda step, _, loss: report(step, {"loss": loss}),
        )
    names = tuple(dataset.class_names)
    return SampleJudge(trained_judge, real, held_out, _reconstructions(plan), names)


def _reconstructions(plan: plans.Plan) -> image_measures.Labelled:
    """What the tokenizer makes of the training images."""
    tokenizer = open_run.open_tokenizer(plan.tokenizer_dir, progress.say)
    encoded = list(spread.Spread(codes.read(plan.codes_dir).train, MAX_JUDGED))
    images = sampling.decode_all(tokenizer, [element["codes"] for element in encoded])
    labels = np.array([element["labels"] for element in encoded], np.int32)
    return image_measures.Labelled(images, labels)


def _in_memory(
    source: sources.Source, spec: sources.Spec, max_unreadable: int
) -> image_measures.Labelled:
    """Up to MAX_JUDGED images, evenly spread."""
    batches = list(
        pipeline.epoch(
            spread.Spread(source, MAX_JUDGED),
            batch_size=256,
            num_threads=spec.num_threads,
            max_unreadable=max_unreadable,
        )
    )
    images, labels = (
        np.concatenate([batch[name][batch["is_valid"]] for batch in batches])
        for name in ("images", "labels")
    )
    return image_measures.Labelled(images, labels)
