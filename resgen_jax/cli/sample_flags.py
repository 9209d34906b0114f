"""Flags of `resgen sample`."""

from resgen_jax.cli import flags, sampler_flags

ADM = "adm"
NUM_SAMPLES, NUM_FILLED_IN = 100, 8


def add_flags(parser: flags.Parser) -> None:
    """Which samples, how they are drawn, and where they go."""
    flags.add_workdir(parser, "run directory of a generator")
    parser.allow_buckets("workdir", "output", "tokenizer", "codes", "guide")
    parser.add_argument(
        "--num_samples",
        type=int,
        help=f"how many ({NUM_SAMPLES}; with --keep {NUM_FILLED_IN})",
    )
    parser.add_argument("--classes", help="names or numbers like 0,3 (all, in turn)")
    sampler_flags.add_labels(parser)
    sampler_flags.add(parser)
    sampler_flags.add_guide(parser)
    parser.add_argument(
        "--seed", type=flags.seed, default=0, help="same seed, same samples (%(default)s)"
    )
    parser.add_argument("--batch_size", type=int, default=100, help="at a time (%(default)s)")
    parser.add_argument("--tokenizer", metavar="DIR", help="its run directory, if it has moved")
    parser.add_argument("--output", metavar="DIR", help="where the results go (WORKDIR)")
    parser.add_argument(
        "--states",
        action="store_true",
        help="also what is revealed after each step: states.npz and states.png",
    )
    parser.add_argument(
        "--npz",
        choices=("ours", ADM),
        default="ours",
        help="adm: arr_0 in shuffled order, as the ADM evaluator takes it; any number fits memory",
    )
    part = parser.add_argument_group("filling in or changing an image")
    part.add_argument("--keep", metavar="R0:R1,C0:C1", help="rows and columns of the grid to keep")
    part.add_argument("--keep_from", metavar="IMAGE", help="an image file, or held-out")
    part.add_argument(
        "--edit_rate",
        type=float,
        metavar="SHARE",
        help="in place of --keep: this share of the codes anew, fine levels first, as --classes",
    )
    part.add_argument("--codes", metavar="DIR", help="where the run's codes lie, if they moved")
