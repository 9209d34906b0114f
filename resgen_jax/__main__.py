"""`python -m resgen_jax VERB`, the same as `resgen VERB`."""

import sys

from resgen_jax.cli import __main__ as cli

if __name__ == "__main__":
    sys.exit(cli.main())
