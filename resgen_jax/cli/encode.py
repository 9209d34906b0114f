"""`resgen encode`: the codes of all images of a run, in a directory for a generator to train on."""

import argparse
import dataclasses
import os

import jax
import numpy as np
from jax.experimental import multihost_utils

from resgen_jax.cli import configuration, encoding, flags, progress, reconstruct, sections, trained
from resgen_jax.core import errors
from resgen_jax.data import codes, codes_writer, sources
from resgen_jax.io import disks, paths
from resgen_jax.runtime import processes

SIZES = ("data.image_size", "data.channels")  # what the tokenizer was made for
CROP_SHARES = (0.8, 1.0)  # of --num_crops, where the run's config has no data.random_crop


def add_flags(parser: flags.Parser) -> None:
    """--workdir, --images, --output, --batch_size, --flip, --num_crops, and how it is written."""
    parser.set_defaults(config=None)  # the run's own, but --config.data.FIELD may be set
    flags.add_workdir(parser, "run directory of a tokenizer")
    parser.allow_buckets("workdir", "output")
    flags.add_images(
        parser,
        "another image folder than the run's own (other files: --config.data.source=tar "
        "--config.data.path=DIR; --config.data.crop and the like)",
    )
    parser.add_argument("--output", metavar="DIR", help="where the codes go (WORKDIR/codes)")
    parser.add_argument(
        "--batch_size", type=int, default=256, help="views at a time and process (%(default)s)"
    )
    parser.add_argument(
        "--flip", action="store_true", help="the mirror image of every training image, too"
    )
    parser.add_argument(
        "--num_crops", type=int, default=0, help="random crops beside the plain one (%(default)s)"
    )
    parser.add_argument(
        "--records_per_shard",
        type=int,
        default=codes_writer.RECORDS_PER_SHARD,
        help="codes in a file; a killed run goes on with the first unfinished one (%(default)s)",
    )
    parser.add_argument(
        "--again", action="store_true", help="encode anew what is there and whole already"
    )


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Prints how many codes went where, and the command to go on with."""
    workdir = flags.require(values, "workdir", "the tokenizer's run directory", "runs/tokenizer")
    output = values.output or os.path.join(workdir, "codes")
    _check_output(output)
    tokenizer = trained.open_tokenizer(workdir, progress.say)
    _choose_images(tokenizer, overrides)
    encode(
        tokenizer,
        workdir,
        output,
        images=values.images,
        batch_size=values.batch_size,
        flip=values.flip,
        num_crops=values.num_crops,
        records_per_shard=values.records_per_shard,
        again=values.again,
    )
    if jax.process_index() == 0:
        written = codes.read(output)
        progress.result(
            f"codes: {output} ({len(written.train)} to train on, {len(written.held_out)} held out)"
        )
        progress.result(
            f"next:  resgen train --config=CONFIG {flags.written('config.data.codes', output)} "
            "--workdir=DIR"
        )


def _check_output(output: str | os.PathLike) -> None:
    """Raises UserError where codes cannot be written; before anything is opened."""
    codes.check_writable(output)
    if not (paths.of(output) / codes.DESCRIPTION).is_file():  # else they may be there and whole
        folder = codes_writer.folder_of(paths.working_copy(paths.of(output), "written"))
        disks.check_writable(folder / codes.DESCRIPTION)
    if paths.is_remote(output) and jax.process_count() > 1:
        raise errors.UserError(
            f"{jax.process_count()} processes cannot write codes into {output} together; name a "
            "disk that all of them see, or leave out --distributed"
        )


def _choose_images(tokenizer: trained.TokenizerRun, overrides: flags.Overrides) -> None:
    """Sets fields of the data section, which say which images are read and how."""
    for field, value in overrides:
        if not field.startswith("data.") or field in SIZES:
            raise errors.UserError(
                f"{flags.CONFIG_FIELD}{field} is the trained tokenizer's own; only fields of data "
                f"can be set here, but {' and '.join(SIZES)}"
            )
        configuration.override(tokenizer.config, field, value)
    configuration.make_paths_absolute(tokenizer.config)


def encode(
    tokenizer: trained.TokenizerRun,
    workdir: str | os.PathLike,
    output: str | os.PathLike,
    *,
    images: str | None = None,
    batch_size: int = 256,
    flip: bool = False,
    num_crops: int = 0,
    records_per_shard: int = codes_writer.RECORDS_PER_SHARD,
    again: bool = False,
) -> None:
    """Writes the codes directory `output`; killed at any moment, the same call goes on.

    As in training, up to the run's data.max_unreadable images are skipped, each of them named; a
    held-out one that cannot be read is an error. Every process encodes shards of its own, on its
    own devices. Codes that are there already are kept, unless `again`. What goes into a bucket is
    written on this machine first, and goes on where it was on this machine alone.
    """
    flags.at_least("batch_size", batch_size, 1)
    flags.at_least("num_crops", num_crops, 0)
    flags.at_least("records_per_shard", records_per_shard, 1)
    spec = sections.read(tokenizer.config, "data")
    dataset = reconstruct.images_of(tokenizer, images)
    encoder = encoding.open_encoder(tokenizer)
    meta = _meta(tokenizer, workdir, dataset, spec)
    meta = dataclasses.replace(
        meta,
        flip=flip,
        num_crops=num_crops,
        random_crop=(spec.random_crop or CROP_SHARES) if num_crops else (),
    )
    plan = codes_writer.Plan(
        meta,
        (len(dataset.train), len(dataset.held_out)),
        meta.num_views,
        records_per_shard,
        (encoder.identity, *(part.fingerprint() for part in dataset[:2])),
    )
    place = paths.of(output)
    folder = paths.working_copy(place, "written")
    unfinished = codes_writer.Unfinished(folder, plan)
    work = encoding.Work(unfinished, dataset, encoder, spec, batch_size)
    if _is_done(unfinished, place) and not again:
        progress.say(f"{output} holds these codes already; --again encodes them anew")
        return
    if jax.process_index() > 0:
        _meet("begun")
        work.run()
        work.wait(lambda: not work.unfinished.folder.exists())
    elif not paths.is_remote(place):
        _write(work)
    else:
        with codes_writer.alone(place, progress.say):
            if not again and unfinished.is_in_place():
                progress.say(f"{folder} holds these codes already; they are copied")
            else:
                _write(work)
            codes_writer.publish(folder, place)


def _write(work: encoding.Work) -> None:
    """The codes directory on a disk, by the first process together with the others."""
    with work.unfinished.begun(progress.say):
        _meet("begun")
        work.run()
        work.wait(work.unfinished.is_whole)
        work.check_skipped()
        if num_skipped := work.unfinished.num_skipped("train"):
            progress.say(f"{num_skipped} images cannot be read and were skipped, each named")
        work.unfinished.finish(work.encoder.codebooks)


def _meta(
    tokenizer: trained.TokenizerRun,
    workdir: str | os.PathLike,
    dataset: sources.Dataset,
    spec: sources.Spec,
) -> codes.Meta:
    door = tokenizer.task.tokenizer
    return codes.Meta(
        grid=door.grid,
        depth=door.depth,
        codebook_size=door.codebook_size,
        code_dim=door.code_dim,
        image_size=door.image_size,
        channels=door.channels,
        class_names=dataset.class_names,
        tokenizer=str(paths.absolute(workdir)),
        tokenizer_step=tokenizer.step,
        crop=spec.crop,
        num_beams=sections.read(tokenizer.config, "quantizer").num_beams,
    )


def _is_done(unfinished: codes_writer.Unfinished, output: paths.Path) -> bool:
    """Whether the codes are there and whole; all processes hear what the first one finds."""
    is_done = False
    if jax.process_index() == 0 and _is_in_place(unfinished, output):
        try:
            is_done = bool(codes.read(output))
        except errors.UserError as failure:
            progress.say(f"{failure}: done now")
    if jax.process_count() == 1:
        return is_done
    return bool(multihost_utils.broadcast_one_to_all(np.int32(is_done)))


def _is_in_place(unfinished: codes_writer.Unfinished, output: paths.Path) -> bool:
    if paths.is_remote(output):
        return codes.plan_of(output) == unfinished.plan.sha256()
    return unfinished.is_in_place()


def _meet(name: str) -> None:
    """Every process waits for the others."""
    processes.meet(f"resgen encode {name}")
