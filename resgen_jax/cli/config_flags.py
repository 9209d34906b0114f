"""Flags of `resgen config`."""

from resgen_jax.cli import flags


def add_flags(parser: flags.Parser) -> None:
    """FILE, or --config as of other verbs."""
    parser.add_argument("file", nargs="?", metavar="FILE[:words]", help="a config file")
    parser.add_argument("--config", metavar="FILE[:words]", help="the same")
