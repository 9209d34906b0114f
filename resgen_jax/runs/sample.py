"""Samples as files: drawn in memory, or straight into the file, as many as there are to be."""

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from PIL import Image

from resgen_jax.evaluation import archive, pictures
from resgen_jax.runs import (
    open_run,
    progress,
    run_directory,
    sample_files,
    sampling,
    watching,
)

NUM_SHOWN = 200
NUM_ROWS = 12  # of the picture of states


def write(
    files: sample_files.Files,
    samples: sampling.Samples,
    picture: Image.Image,
    class_names: Sequence[str],
    settings: dict[str, Any],
    seam: dict[str, Any] | None = None,
    states: watching.States | None = None,
) -> None:
    """Samples that are in memory; other ones that lie there already keep under other names."""
    content = sample_files.Sum(samples.labels)
    content.add(samples.images)
    content.add(samples.codes)
    files.keep_others(str(content), progress.say)
    if seam is not None:
        run_directory.write_json(files.output / sample_files.SEAM, seam)
    if states is not None:
        names = [str(class_names[label]) for label in samples.labels[:NUM_ROWS]]
        shown = states.images[:, :NUM_ROWS]
        drawn = pictures.unmasking(shown, states.share_revealed, names)
        run_directory.save_picture(files.output / sample_files.STATES_PICTURE, drawn)
        run_directory.save_arrays(files.output / sample_files.STATES, **states._asdict())
    run_directory.save_picture(files.output / files.picture, picture)
    run_directory.save_arrays(
        files.output / files.arrays,
        **samples._asdict(),
        class_names=list(class_names),
        seed=settings["seed"],
        sampler=json.dumps(settings),
        sha256=str(content),
    )


def settings_of(
    generator: open_run.GeneratorRun,
    spec: Any,
    seed: int,
    labels: str,
    guide: str | None = None,
) -> dict[str, Any]:
    """How samples are drawn, for whoever measures or finds them later."""
    drawn = {**dataclasses.asdict(spec), "seed": seed, "labels": labels}
    told = {"guide": guide} if guide else {}
    return drawn | {"step": generator.step} | told


def write_adm(
    generator: open_run.GeneratorRun,
    tokenizer: open_run.TokenizerRun,
    spec: Any,
    labels: np.ndarray,
    files: sample_files.Files,
    *,
    settings: dict[str, Any],
    batch_size: int,
) -> None:
    """Draws in shuffled order straight into the file, and shows the first few."""
    meta, seed, output = generator.meta, settings["seed"], files.output
    order = np.random.default_rng(seed).permutation(len(labels))
    batches = sampling.Drawer(generator.model, spec, tokenizer).stream(
        generator.mesh,
        generator.params,
        generator.codebooks,
        labels,
        seed,
        batch_size,
        order=order,
    )
    shown: list[np.ndarray] = []
    done, content = 0, sample_files.Sum(labels[order])
    shape = (len(labels), meta.image_size, meta.image_size, 3)
    with (
        progress.phase("sample", len(labels)) as report,
        archive.writing(output / files.arrays, is_on=jax.process_index() == 0) as out,
    ):
        out.array("labels", labels[order])
        out.array("class_names", list(meta.class_names))
        out.array("seed", seed)
        out.array("sampler", json.dumps(settings))
        out.array("order", order)  # row i is sample order[i]; shuffled by NumPy from the seed
        with out.rows("arr_0", np.uint8, shape) as append:
            for batch in batches:
                images = open_run.fetch(batch.images)[: batch.count]
                append(np.broadcast_to(images, (len(images), *shape[1:])))
                content.add(images)
                shown += list(images[: NUM_SHOWN - len(shown)])
                done += batch.count
                report(done)
        out.array("sha256", str(content))
        files.keep_others(str(content), progress.say)
    picture = pictures.samples(np.stack(shown), labels[order[: len(shown)]], meta.class_names)
    run_directory.save_picture(output / files.picture, picture)
