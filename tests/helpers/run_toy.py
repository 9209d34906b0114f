"""Trains the toy task in a process of its own: `python run_toy.py WORKDIR [OPTION=VALUE ..]`.

Every settled step prints its number, so that a test can kill the process in the middle.
"""

import pathlib
import sys

HELPERS = pathlib.Path(__file__).parent
sys.path[:0] = [str(HELPERS), str(HELPERS.parents[1])]

import jax  # noqa: E402

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_compilation_cache_dir", str(HELPERS.parents[1] / ".jax_cache"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)

import toy_task  # noqa: E402

from resgen_jax.training import loop  # noqa: E402
from resgen_jax.training import mesh as meshes  # noqa: E402


def tell(what):
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def main(workdir, *options):
    settings = {name: int(value) for name, value in (option.split("=") for option in options)}
    settings = {"num_steps": 40, "log_every": 1, "checkpoint_every": 5} | settings
    spec = loop.Spec(**settings, evaluate_every=10)

    def say(progress):
        tell(progress.message or progress.step)

    try:
        loop.run(
            toy_task.ToyTask(num_steps=spec.num_steps),
            spec,
            mesh=meshes.make(meshes.Spec()),
            iterator=toy_task.iterator(),
            held_out=toy_task.held_out,
            workdir=workdir,
            seed=0,
            progress=say,
        )
    except loop.Stopped as stopped:
        tell(f"stopped {stopped.step}")
        raise SystemExit(3) from None


if __name__ == "__main__":
    main(*sys.argv[1:])
