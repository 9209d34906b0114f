"""Command lines of `resgen`, one after the other in this process, on one CPU device.

`python run_resgen.py FILE`: FILE is JSON, a list of command lines, each a list of words. A small
random network stands for every one whose weights are not here. Ends with the first exit code that
is not 0.
"""

import json
import pathlib
import sys

HELPERS = pathlib.Path(__file__).parent
sys.path[:0] = [str(HELPERS), str(HELPERS.parents[1])]

import jax  # noqa: E402
import tiny_features  # noqa: E402

from resgen_jax.cli import __main__ as cli  # noqa: E402
from resgen_jax.convert import weights  # noqa: E402

NETWORK = tiny_features.network(name="mobilenet", distance_name="FD-mobilenet")


def main(file):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 1)
    weights.load_features = lambda name, directory: (NETWORK, NETWORK.init(jax.random.key(0)))
    weights.fingerprints = lambda name, directory: {}
    weights.features_at_hand = lambda directory=None: ()
    for line in json.loads(pathlib.Path(file).read_text()):
        code = cli.main(line)
        if code:
            sys.exit(code)


if __name__ == "__main__":
    main(sys.argv[1])
