"""Trains the toy task in a process of its own: `python run_toy.py WORKDIR [KILL_AT]`.

The process kills itself, as `kill -9` does, when the step KILL_AT is reported.
"""

import os
import pathlib
import signal
import sys

HELPERS = pathlib.Path(__file__).parent
sys.path[:0] = [str(HELPERS), str(HELPERS.parents[1])]

import jax  # noqa: E402

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_compilation_cache_dir", str(HELPERS.parents[1] / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

import toy_task  # noqa: E402

from resgen_jax.runtime import mesh as meshes  # noqa: E402
from resgen_jax.training import loop  # noqa: E402


def main(workdir, kill_at=0):
    def report(progress):
        if progress.step == int(kill_at) > 0:
            os.kill(os.getpid(), signal.SIGKILL)

    spec = loop.Spec(num_steps=40, log_every=1, evaluate_every=10, checkpoint_every=5)

    loop.run(
        toy_task.ToyTask(num_steps=spec.num_steps),
        spec,
        mesh=meshes.make(meshes.Spec()),
        iterator=toy_task.iterator(),
        held_out=toy_task.held_out,
        workdir=workdir,
        seed=0,
        progress=report,
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
