"""The codes of all images of a run, in a directory for a generator to train on."""

import dataclasses
import os

import jax
import numpy as np
from jax.experimental import multihost_utils

from resgen_jax.core import errors, shell, spaces
from resgen_jax.data import codes, codes_writer, sources
from resgen_jax.io import disks, paths
from resgen_jax.runs import consensus, encoding, open_run, progress, reconstruct
from resgen_jax.runs.configs import configuration
from resgen_jax.runtime import processes

SIZES = ("data.image_size", "data.channels")  # what the tokenizer was made for
CROP_SHARES = (0.8, 1.0)  # of --num_crops, where the run's config has no data.random_crop


def check_output(output: str | os.PathLike) -> None:
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


def choose_images(
    tokenizer: open_run.TokenizerRun, overrides: shell.Overrides
) -> open_run.TokenizerRun:
    """The tokenizer with other fields of the data section: which images are read, and how."""
    for field, _ in overrides:
        if not field.startswith("data.") or field in SIZES:
            raise errors.UserError(
                f"{shell.CONFIG_FIELD}{field} is the trained tokenizer's own; only fields of data "
                f"can be set here, but {' and '.join(SIZES)}"
            )
    return tokenizer._replace(config=configuration.overridden(tokenizer.config, overrides))


def encode(
    tokenizer: open_run.TokenizerRun,
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
    shell.at_least("batch_size", batch_size, 1)
    shell.at_least("num_crops", num_crops, 0)
    shell.at_least("records_per_shard", records_per_shard, 1)
    spec = tokenizer.config.data
    dataset = reconstruct.images_of(tokenizer, images)
    found = {part: getattr(dataset, part).fingerprint() for part in codes.PARTS}
    consensus.on_data({f"the images ({part})": text for part, text in found.items()})
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
        (encoder.identity, *found.values()),
    )
    place = paths.of(output)
    folder = paths.working_copy(place, "written")
    unfinished = codes_writer.Unfinished(folder, plan)
    work = encoding.Work(unfinished, dataset, encoder, spec, batch_size)
    if _is_done(unfinished, place) and not again:
        progress.say(f"{output} holds these codes already; --again encodes them anew")
        return
    if codes.plan_of(place) not in (None, plan.sha256()):
        progress.say(
            f"{output} holds other codes, which these replace once they are whole; to keep them, "
            f"stop and name another --output"
        )
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
    tokenizer: open_run.TokenizerRun,
    workdir: str | os.PathLike,
    dataset: sources.Dataset,
    spec: sources.Spec,
) -> codes.Meta:
    model = tokenizer.model
    return codes.Meta(
        space=spaces.image_codes(
            model.grid,
            model.depth,
            model.codebook_size,
            model.code_dim,
            len(dataset.class_names),
            tokenizer.config.quantizer.num_beams,
        ),
        image_size=model.image_size,
        channels=model.channels,
        class_names=dataset.class_names,
        tokenizer=str(paths.absolute(workdir)),
        tokenizer_step=tokenizer.step,
        crop=spec.crop,
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
