"""Flags of `resgen convert`."""

from resgen_jax.cli import flags, known

SAFETENSORS = "safetensors"


def add_flags(parser: flags.Parser) -> None:
    """A run and --to, or a published file and --from; --list."""
    flags.add_workdir(parser, "run directory of a tokenizer or generator, to be exported")
    parser.allow_buckets("workdir")
    parser.add_argument("--to", metavar="FORMAT", help=f"{SAFETENSORS}, with config.json beside it")
    parser.add_argument("--from", dest="source", metavar="FORMAT", help="see --list")
    parser.add_argument("--input", metavar="FILE", help="the published file (or its folder)")
    parser.add_argument("--output", metavar="DIR", help="where the result goes")
    parser.add_argument("--list", action="store_true", help="formats, where they are published")
    sizes = parser.add_argument_group("what the arrays of a file do not tell")
    sizes.add_argument("--image_size", type=int, help="side of the images (256)")
    sizes.add_argument("--scales", type=flags.integers, help="of var: 1,2,3,4,5,6,8,10,13,16")
    sizes.add_argument(
        "--choice",
        choices=sorted(known.VAR_CHOICES),
        help="of var: of codes, by distance, or by direction where it has using_znorm (distance)",
    )
    sizes.add_argument("--num_heads", type=int, help="of rq_transformer: heads of 64 channels")
    sizes.add_argument("--grid", type=flags.grid, help="of rq_transformer: like 8x8 (a square)")
    sizes.add_argument(
        "--separate_codebooks",
        action="store_const",
        const=True,
        help="of rq_vae: a codebook for each level, not one for all",
    )
