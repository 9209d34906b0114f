"""`resgen encode`: the codes of all images of a run, in a directory for a generator to train on."""

import argparse
import os

import jax

from resgen_jax.cli import flags
from resgen_jax.core import shell
from resgen_jax.data import codes
from resgen_jax.runs import encode, open_run, progress


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Prints how many codes went where, and the command to go on with."""
    workdir = flags.require(values, "workdir", "the tokenizer's run directory", "runs/tokenizer")
    output = values.output or os.path.join(workdir, "codes")
    encode.check_output(output)
    tokenizer = open_run.open_tokenizer(workdir, progress.say)
    tokenizer = encode.choose_images(tokenizer, overrides)
    encode.encode(
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
            f"next:  resgen train --config=CONFIG {shell.written('config.data.codes', output)} "
            "--workdir=DIR"
        )
