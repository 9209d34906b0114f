"""Held-out images through a tokenizer, as a picture and as figures by depth."""

import dataclasses
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from resgen_jax.core import shell
from resgen_jax.data import images as image_files
from resgen_jax.data import patterns, pipeline, sources, spread
from resgen_jax.evaluation import pictures, reconstruction
from resgen_jax.io import paths
from resgen_jax.quantizers import rvq
from resgen_jax.runs import open_run, places, progress, run_directory
from resgen_jax.runtime import mesh as meshes
from resgen_jax.tokenizers import interface as tokenizers

PICTURE, FIGURES = "reconstructions.png", "reconstruct.json"
NUM_SHOWN = 12


def reconstruct(
    tokenizer: open_run.TokenizerRun,
    workdir: str | os.PathLike,
    *,
    images: str | None = None,
    batch_size: int = 256,
) -> dict[str, Any]:
    """The figures on all held-out images, written beside the picture of the first few."""
    shell.at_least("batch_size", batch_size, 1)
    run_directory.check_writable(paths.of(workdir), PICTURE, FIGURES)
    source = measured_images(tokenizer, images).held_out
    batch_size = open_run.batch_for(tokenizer.mesh, batch_size, len(source))
    by_depth = reconstruct_by_depth(tokenizer.model)
    variables = tokenizer.params, tokenizer.statistics
    num_batches = -(-len(source) // batch_size)
    with (
        jax.set_mesh(tokenizer.mesh),  # the quantizer bounds its memory by the device
        progress.phase("reconstruct", num_batches) as report,
    ):
        figures = reconstruction.evaluate(
            by_depth,
            variables,
            batches(tokenizer, source, batch_size, report),
            depth=tokenizer.model.depth,
            codebook_size=tokenizer.model.codebook_size,
        )
    shown = _shown(source, NUM_SHOWN)
    rebuilt = _rebuilt(tokenizer, by_depth, shown)
    picture = pictures.reconstructions(shown, rebuilt, figures["psnr_by_depth"])
    run_directory.save_picture(paths.of(workdir) / PICTURE, picture)
    figures["step"] = tokenizer.step
    run_directory.write_json(paths.of(workdir) / FIGURES, figures)
    return figures


def reconstruct_by_depth(
    model: tokenizers.Tokenizer, depths: tuple[int, ...] = ()
) -> reconstruction.Reconstruct:
    """From (params, statistics) and images to codes and images of the first 1, 2, ... levels.

    Of all levels, or of those numbers of levels that `depths` names.
    """
    depths = reconstruction.check_depths(depths, model.depth)

    def reconstruct(variables, images):
        params, statistics = variables
        codes = model.encode(params, statistics, images)
        sums = rvq.partial_sums(codes, model.codebooks(statistics))
        return codes, reconstruction.decode_depths(
            lambda quantized: model.decode_vectors(params, quantized), sums, depths
        )

    return reconstruct


def batches(
    tokenizer: open_run.TokenizerRun,
    source: sources.Source,
    batch_size: int,
    report: Callable[[int], None] = lambda done: None,
) -> Iterator[dict[str, Any]]:
    """All images of a source on the tokenizer's mesh; `report` hears how many batches are done."""
    rows_of_batches = pipeline.epoch(
        source,
        batch_size=batch_size,
        num_threads=tokenizer.config.data.num_threads,
        rows=meshes.rows_here(tokenizer.mesh, batch_size),
    )
    for number, rows in enumerate(rows_of_batches):
        yield meshes.put_batch(
            tokenizer.mesh, {name: rows[name] for name in ("images", "is_valid")}
        )
        report(number + 1)


def _rebuilt(
    tokenizer: open_run.TokenizerRun, by_depth: reconstruction.Reconstruct, shown: np.ndarray
) -> np.ndarray:
    """Some images at every depth, uint8 "q n h w c"."""
    step = jax.jit(
        lambda variables, images: image_files.to_bytes(
            by_depth(variables, image_files.to_unit(images))[1]
        )
    )
    num_rows = -(-len(shown) // tokenizer.mesh.size) * tokenizer.mesh.size
    rows = open_run.put_rows(
        tokenizer.mesh, {"images": np.resize(shown, (num_rows, *shown.shape[1:]))}
    )
    rebuilt = open_run.fetch(step((tokenizer.params, tokenizer.statistics), rows["images"]))
    return np.moveaxis(rebuilt[: len(shown)], 1, 0)


def images_of(tokenizer: open_run.TokenizerRun, images: str | None) -> sources.Dataset:
    """The run's own images, or those of another folder at the run's size and colours."""
    dataset = sources.open_images(_spec_of(tokenizer, images))
    if images:
        progress.say(dataset.describe())
    return dataset


def measured_images(
    tokenizer: open_run.TokenizerRun, images: str | None, crop: str | None = None
) -> sources.Dataset:
    """As `images_of`, to be measured: by this crop, and all of a folder without a split.

    Of such a folder `train` and `held_out` are the same: nothing of it has been trained on.
    """
    spec = _spec_of(tokenizer, images)
    if images and patterns.split_folders(root := pathlib.Path(paths.expanded(images))) is None:
        whole = str(patterns.lone_train_folder(root))
        spec = dataclasses.replace(spec, path=whole, held_out_path=whole)
    dataset = sources.open_images(dataclasses.replace(spec, crop=crop or spec.crop))
    if images:
        progress.say(f"{images}: {len(dataset.held_out)} images{dataset.held_out.left_out}")
    return dataset


def _spec_of(tokenizer: open_run.TokenizerRun, images: str | None) -> sources.Spec:
    spec = tokenizer.config.data
    if not images:
        places.check_images(tokenizer.config)
        return spec
    return dataclasses.replace(
        spec, source="folder", path=images, held_out_path="", class_names="", min_classes=1
    )


def _shown(source: sources.Source, count: int) -> np.ndarray:
    """`count` images evenly spread over the source, so that all classes have a chance."""
    return np.stack([element["images"] for element in spread.Spread(source, count)])
