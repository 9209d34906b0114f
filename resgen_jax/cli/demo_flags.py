"""Flags of `resgen demo`."""

from resgen_jax.cli import flags


def add_flags(parser: flags.Parser) -> None:
    """--images, --workdir, --image_size, --num_samples, how long."""
    flags.add_images(parser, "your images in place of the handwritten digits")
    flags.add_workdir(parser, "run directory (%(default)s); run again to go on", "runs/demo")
    parser.add_argument("--image_size", type=int, help="side in pixels, with --images (64)")
    parser.add_argument("--num_samples", type=int, help="how many are judged (1000; images 400)")
    parser.add_argument(
        "--minutes",
        type=float,
        help="train both stages for about as long together; the rest comes on top",
    )
    parser.add_argument(
        "--fast", action="store_true", help="a few steps of small networks, to try the machinery"
    )
