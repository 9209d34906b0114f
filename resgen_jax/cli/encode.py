"""`resgen encode`: the codes of all images of a run, in a directory for a generator to train on."""

import argparse
import os

import jax

from resgen_jax.cli import flags
from resgen_jax.core import shell
from resgen_jax.data import codes, codes_writer
from resgen_jax.runs import encode, open_run, progress


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
