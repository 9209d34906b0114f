"""Flags of `resgen train`."""

from resgen_jax.cli import flags


def add_flags(parser: flags.Parser) -> None:
    """--config and --workdir, and what to look into besides."""
    parser.add_argument(
        "--config",
        metavar="FILE[:words]",
        help="a config file, yours or one of the package; --config.any.field=value sets a field",
    )
    flags.add_workdir(parser, "run directory: made, or gone on with if it holds this config's run")
    parser.add_argument(
        "--profile_steps",
        metavar="FIRST:END",
        help="trace these steps into WORKDIR/profile, on the first process: 100:110 are ten",
    )
    parser.add_argument(
        "--dump_hlo",
        action="store_true",
        help="write the program of a step into WORKDIR/programs: jaxpr, StableHLO, HLO, memory",
    )
    parser.add_argument(
        "--synthetic_data",
        action="store_true",
        help="train on noise of the right shapes, to measure speed: no data, and no use after",
    )
    parser.allow_buckets("workdir")
