"""The judge of a dataset's images: found where it was kept, or trained and kept there."""

import dataclasses
import os
import time
from typing import Any, NamedTuple, cast

import jax
import numpy as np

from resgen_jax.core import errors
from resgen_jax.data import pipeline, sources, spread
from resgen_jax.evaluation import images as image_measures
from resgen_jax.evaluation import judge, judge_files, photo_judge, photo_spec
from resgen_jax.io import files, paths
from resgen_jax.runs import evaluation_request, progress

MAX_TRAINING = 100_000  # images that a judge learns from, in memory
MAX_HELD_OUT = 10_000  # images that say how far it can be trusted
SEED = 0


class Kept(NamedTuple):
    """A judge, and what a record says of it."""

    judge_of_images: judge.Judge
    facts: dict[str, Any]
    files: dict[str, str]  # the file it lies in, with its checksum


def of(
    dataset: sources.Dataset,
    folder: str | os.PathLike,
    *,
    spec: photo_spec.Spec | None = None,
    num_threads: int = 0,
) -> Kept:
    """The judge of these training images that `folder` keeps; trained there if it has none.

    Its file is named after the images, so that a folder may keep several. What is stopped while it
    trains goes on where it was.
    """
    path = paths.of(folder) / judge_files.name(dataset.train.fingerprint())
    if paths.is_file(path):
        return _read(path)
    return train(dataset, folder, spec=spec, num_threads=num_threads)


def train(
    dataset: sources.Dataset,
    folder: str | os.PathLike,
    *,
    spec: photo_spec.Spec | None = None,
    num_threads: int = 0,
) -> Kept:
    """A judge trained now, in place of one that `folder` keeps; its accuracy is among the facts."""
    spec, place = spec or photo_judge.SPEC, paths.of(folder)
    if jax.process_count() > 1:
        raise errors.UserError(
            f"{place} holds no judge of these images, and a judge is trained by one process alone; "
            "train it first, by `resgen evaluate --write_judge=DIR --images=DIR --image_size=SIDE`"
        )
    paths.make_folder(place)
    fingerprint = dataset.train.fingerprint()
    facts: dict[str, Any] = {
        "images": fingerprint,
        "classes": list(dataset.class_names),
        "spec": dataclasses.asdict(spec),
        "seed": SEED,
    }
    path = place / judge_files.name(fingerprint)
    unfinished = place / f"unfinished_{path.name}"
    real = in_memory("training images", dataset.train, MAX_TRAINING, num_threads)
    key, num_classes = jax.random.key(SEED), len(dataset.class_names)
    begun = photo_judge.start(key, real.images.shape[1:], num_classes, spec)
    state = judge_files.load_state(unfinished, begun, facts) or begun
    started = time.perf_counter()
    with progress.phase("judge", photo_judge.num_steps(spec, len(real.images))) as report:

        def told(state: photo_judge.State, num_steps: int, loss: float) -> None:
            del num_steps
            judge_files.save_state(unfinished, state, facts)
            report(state.step, {"loss": loss})

        found = photo_judge.train(
            key, real.images, real.labels, num_classes, spec, state=state, report=told
        )
    facts["seconds"] = round(time.perf_counter() - started, 1)
    facts["num_images"] = len(real.images)
    held_out = in_memory("held-out images", dataset.held_out, MAX_HELD_OUT, num_threads)
    facts["accuracy"] = float(np.mean(found.predict(held_out.images) == held_out.labels))
    facts["num_held_out"] = len(held_out.images)
    judge_files.save(path, found, facts)
    paths.remove(unfinished)
    return _read(path)


def _read(path: paths.Path) -> Kept:
    found, facts = judge_files.load(path)
    with paths.reading(path) as file:
        sha256 = files.sha256(file)
    return Kept(found, facts, {path.name: sha256})


def write(request: evaluation_request.Request) -> dict[str, Any]:
    """Trains the judge of `--images`, for `--write_judge`; there is no metric to record."""
    spec = sources.Spec(
        source="folder",
        image_size=cast(int, request.image_size),
        channels=3,
        batch_size=1,
        path=cast(str, request.images),
        crop=request.crop or "center",
    )
    how = photo_judge.SPEC
    if request.judge_epochs is not None:
        how = dataclasses.replace(how, num_epochs=request.judge_epochs)
    dataset = sources.open_images(spec)
    progress.say(dataset.describe())
    kept = train(dataset, cast(str, request.write_judge), spec=how)
    facts = kept.facts
    progress.result(
        f"judge: {paths.of(cast(str, request.write_judge)) / next(iter(kept.files))} (right on "
        f"{facts['accuracy']:.1%} of {facts['num_held_out']:,} held-out images, trained on "
        f"{facts['num_images']:,})"
    )
    return {}


def in_memory(
    name: str, source: sources.ImageSource, most: int, num_threads: int = 0
) -> image_measures.Labelled:
    """Up to `most` images of a source, evenly spread, and their classes."""
    chosen, size = spread.Spread(source, most), 256
    images, labels = [], []
    with progress.phase(name, -(-len(chosen) // size)) as report:
        for number, batch in enumerate(
            pipeline.epoch(chosen, batch_size=size, num_threads=num_threads)
        ):
            images.append(batch["images"][batch["is_valid"]])
            labels.append(batch["labels"][batch["is_valid"]])
            report(number + 1)
    return image_measures.Labelled(np.concatenate(images), np.concatenate(labels))
