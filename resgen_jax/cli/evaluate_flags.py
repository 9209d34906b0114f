"""Flags of `resgen evaluate`."""

from resgen_jax.cli import flags, known, sampler_flags, sweep_flags

RECORD = "evaluate.json"


def add_flags(parser: flags.Parser) -> None:
    """What is measured, against what, by which network."""
    files = parser.add_argument_group("samples in files")
    files.add_argument("--samples", metavar="FILE", help="an NPZ file (arr_0) or a folder")
    files.add_argument(
        "--reference",
        metavar="FILE",
        help="statistics (mu, sigma), images in an NPZ file, or a folder of images",
    )
    runs = parser.add_argument_group("a run")
    flags.add_workdir(parser, "of a tokenizer: reconstructions by depth; of a generator: samples")
    parser.allow_buckets("workdir", "output", "tokenizer", "guide", "judge", "write_judge")
    runs.add_argument("--num_images", type=int, default=0, help="at most; evenly spread (all)")
    runs.add_argument("--depths", type=flags.integers, default=(), help="like 1,4,8 (all)")
    runs.add_argument("--num_samples", type=int, default=50_000, help="to draw (%(default)s)")
    runs.add_argument("--seed", type=flags.seed, default=0, help="of the samples (%(default)s)")
    runs.add_argument(
        "--num_seeds",
        type=int,
        default=1,
        metavar="N",
        help="sets of samples, by --seed and the numbers behind it; prints mean and spread",
    )
    runs.add_argument(
        "--judge",
        metavar="DIR",
        help="folder of the judge of the training images' classes; trained there if it is missing",
    )
    runs.add_argument("--tokenizer", metavar="DIR", help="its run directory, if it has moved")
    sampler_flags.add_labels(parser)
    sampler_flags.add(parser)
    sampler_flags.add_guide(parser)
    sweep_flags.add(parser)
    written = parser.add_argument_group("statistics for later")
    written.add_argument("--write_reference", metavar="FILE", help="statistics of --images")
    written.add_argument("--image_size", type=int, help="side they are cropped to (as they are)")
    written.add_argument(
        "--write_judge", metavar="DIR", help="train a judge of --images for --judge"
    )
    written.add_argument("--judge_epochs", type=float, help="of its training")
    parser.add_argument(
        "--images", metavar="DIR", help="a folder; with --workdir in place of the run's own"
    )
    parser.add_argument(
        "--crop",
        choices=sorted(known.CROPS),
        help=f"of a folder ({known.REFERENCE_CROP}), and of a run's images (its config's)",
    )
    parser.add_argument(
        "--features",
        choices=[*sorted(known.FEATURE_NETWORKS), "all", "none"],
        help="the network (all whose weights are there; of a tokenizer none, unless --weights is "
        "given)",
    )
    parser.add_argument(
        "--weights",
        metavar="DIR",
        help=f"folder of weights (${known.WEIGHTS_VARIABLE}, or a cache)",
    )
    parser.add_argument(
        "--adm_manifolds",
        action="store_true",
        help="precision and recall by ADM's distances too, which are in float16",
    )
    parser.add_argument("--batch_size", type=int, default=64, help="images a time (%(default)s)")
    parser.add_argument(
        "--output",
        metavar="FILE",
        help=f"the record ({RECORD} beside the input); with --sweep the folder of the points",
    )
