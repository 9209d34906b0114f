"""One of several processes of the command line, on one CPU device.

`python run_hosts.py SECONDS_TO_SEE ARGUMENTS`: `resgen ARGUMENTS`, which gives a disk of a network
so many seconds to show a new file.
"""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2]))

import jax

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 1)

from resgen_jax.cli import __main__ as cli  # noqa: E402
from resgen_jax.runtime import work_directory  # noqa: E402

if __name__ == "__main__":
    work_directory.SECONDS_TO_SEE = float(sys.argv[1])
    sys.exit(cli.main(sys.argv[2:]))
