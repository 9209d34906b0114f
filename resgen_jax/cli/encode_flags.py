"""Flags of `resgen encode`."""

from resgen_jax.cli import flags, known


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
        default=known.RECORDS_PER_SHARD,
        help="codes in a file; a killed run goes on with the first unfinished one (%(default)s)",
    )
    parser.add_argument(
        "--again", action="store_true", help="encode anew what is there and whole already"
    )
