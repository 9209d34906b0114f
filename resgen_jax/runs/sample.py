"""Samples straight into a file, as many as there are to be."""

import argparse
import dataclasses
import json
from typing import Any

import jax
import numpy as np

from resgen_jax.core import errors
from resgen_jax.evaluation import archive, pictures
from resgen_jax.evaluation import samples as sample_files
from resgen_jax.generators import confidence, proposals
from resgen_jax.io import paths
from resgen_jax.runs import inpainting, open_run, progress, run_directory, sampling

PICTURE, ARRAYS, SEAM = "samples.png", "samples.npz", "seam.json"
ADM, ADM_ARRAYS = "adm", "samples_adm.npz"
NUM_SAMPLES, NUM_FILLED_IN, NUM_SHOWN = 100, 8, 200


def write_adm(
    generator: open_run.GeneratorRun,
    tokenizer: open_run.TokenizerRun,
    spec: Any,
    labels: np.ndarray,
    output: paths.Path,
    *,
    seed: int,
    batch_size: int,
    kind: str,
) -> None:
    """Draws in shuffled order straight into the file, and shows the first few."""
    meta = generator.meta
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
    shown, done = [], 0
    shape = (len(labels), meta.image_size, meta.image_size, 3)
    with (
        progress.phase("sample", len(labels)) as report,
        archive.writing(output / ADM_ARRAYS, is_on=jax.process_index() == 0) as out,
    ):
        out.array("labels", labels[order])
        out.array("class_names", list(meta.class_names))
        out.array("seed", seed)
        settings = {**dataclasses.asdict(spec), "seed": seed, "labels": kind}
        out.array(sample_files.SAMPLER, json.dumps(settings | {"step": generator.step}))
        out.array("order", order)  # row i is sample order[i]; shuffled by NumPy from the seed
        with out.rows("arr_0", np.uint8, shape) as append:
            for batch in batches:
                images = open_run.fetch(batch.images)[: batch.count]
                append(np.broadcast_to(images, (len(images), *shape[1:])))
                shown += list(images[: NUM_SHOWN - len(shown)])
                done += batch.count
                report(done)
    picture = pictures.samples(np.stack(shown), labels[order[: len(shown)]], meta.class_names)
    run_directory.save_picture(output / PICTURE, picture)
