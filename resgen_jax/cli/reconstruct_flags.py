"""Flags of `resgen reconstruct`."""

from resgen_jax.cli import flags


def add_flags(parser: flags.Parser) -> None:
    """--workdir, --images, --batch_size."""
    flags.add_workdir(parser, "run directory of a tokenizer; the results go there too")
    parser.allow_buckets("workdir")
    flags.add_images(parser, "another image folder than the run's own")
    parser.add_argument(
        "--batch_size", type=int, default=256, help="images at a time (%(default)s)"
    )
