"""`resgen encode` with every image taking some time, so that a kill meets it in the middle.

`python run_encode.py SECONDS FLAGS...`
"""

import pathlib
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 1)

from resgen_jax.cli import __main__ as cli  # noqa: E402
from resgen_jax.runs import encoding  # noqa: E402

read = encoding.Work._read


def read_slowly(self, shard, index):
    """What `read` gives, later."""
    time.sleep(float(sys.argv[1]))
    return read(self, shard, index)


encoding.Work._read = read_slowly
sys.exit(cli.main(["encode", *sys.argv[2:]]))
