"""`resgen encode`: the codes of all images of a run, in a directory for a generator to train on."""

import argparse
import itertools
import os
import pathlib
from collections.abc import Iterator

import jax
import numpy as np

from resgen_jax.cli import flags, progress, reconstruct, sections, trained
from resgen_jax.data import codes, pipeline
from resgen_jax.data import images as image_files
from resgen_jax.training import mesh as meshes


def add_flags(parser: flags.Parser) -> None:
    """--workdir, --images, --output, --batch_size."""
    flags.add_workdir(parser, "run directory of a tokenizer")
    flags.add_images(parser, "another image folder than the run's own")
    parser.add_argument("--output", metavar="DIR", help="where the codes go (WORKDIR/codes)")
    parser.add_argument(
        "--batch_size", type=int, default=256, help="images at a time (%(default)s)"
    )


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Prints how many codes went where, and the command to go on with."""
    del overrides
    workdir = flags.require(values, "workdir", "the tokenizer's run directory", "runs/tokenizer")
    output = values.output or os.path.join(workdir, "codes")
    codes.check_writable(output)
    tokenizer = trained.open_tokenizer(workdir, progress.say)
    encode(tokenizer, workdir, output, images=values.images, batch_size=values.batch_size)
    if jax.process_index() == 0:
        written = codes.read(output)
        progress.result(
            f"codes: {output} ({len(written.train)} to train on, {len(written.held_out)} held out)"
        )
        progress.result(
            f"next:  resgen train --config=CONFIG --config.data.codes={output} --workdir=DIR"
        )


def encode(
    tokenizer: trained.TokenizerRun,
    workdir: str | os.PathLike,
    output: str | os.PathLike,
    *,
    images: str | None = None,
    batch_size: int = 256,
) -> None:
    """Writes the codes directory `output`.

    As in training, up to the run's data.max_unreadable images are skipped, each of them named; a
    held-out one that cannot be read is an error.
    """
    flags.at_least("batch_size", batch_size, 1)
    dataset = reconstruct.images_of(tokenizer, images)
    spec = sections.read(tokenizer.config, "data")
    batch_size = trained.batch_for(tokenizer.mesh, batch_size, len(dataset.train))
    door = tokenizer.task.tokenizer
    meta = codes.Meta(
        grid=door.grid,
        depth=door.depth,
        codebook_size=door.codebook_size,
        code_dim=door.code_dim,
        image_size=door.image_size,
        channels=door.channels,
        class_names=dataset.class_names,
        tokenizer=str(pathlib.Path(workdir).absolute()),
    )
    step = jax.jit(
        lambda params, statistics, images: door.encode(
            params, statistics, image_files.to_unit(images)
        )
    )
    num_batches = [-(-len(source) // batch_size) for source in dataset[:2]]
    with progress.phase("encode", sum(num_batches)) as report:

        def batches(source, done, max_unreadable) -> Iterator[tuple[np.ndarray, np.ndarray]]:
            stream = pipeline.epoch(
                source,
                batch_size=batch_size,
                num_threads=spec.num_threads,
                process_index=jax.process_index(),
                process_count=jax.process_count(),
                max_unreadable=max_unreadable,
                on_unreadable=lambda failure: report.note(f"skipped: {failure}"),
            )
            for number, rows in enumerate(stream):
                batch = meshes.put_batch(tokenizer.mesh, rows)
                found = step(tokenizer.params, tokenizer.statistics, batch["images"])
                is_valid = trained.fetch(batch["is_valid"])
                yield (
                    trained.fetch(found)[is_valid],
                    trained.fetch(batch["labels"])[is_valid],
                )
                report(done + number + 1)

        train = batches(dataset.train, 0, spec.max_unreadable)
        held_out = batches(dataset.held_out, num_batches[0], 0)
        codebooks = trained.fetch(door.codebooks(tokenizer.statistics))
        if jax.process_index() == 0:
            codes.write(output, train=train, held_out=held_out, codebooks=codebooks, meta=meta)
        else:  # takes its part in encoding; one process writes
            for _ in itertools.chain(train, held_out):
                pass
