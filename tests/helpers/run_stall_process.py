"""One of two processes that train together, the last of which hangs in its data for a while.

`python run_stall_process.py PROCESS NUM_PROCESSES PORT WORKDIR`: it hangs at step 5 until every
process has written its stacks.
"""

import pathlib
import sys
import time

HELPERS = pathlib.Path(__file__).parent
sys.path[:0] = [str(HELPERS), str(HELPERS.parents[1])]

import jax  # noqa: E402

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 1)

import toy_task  # noqa: E402

from resgen_jax.runtime import mesh as meshes  # noqa: E402
from resgen_jax.training import loop  # noqa: E402
from resgen_jax.training.telemetry import inspection, watchdog  # noqa: E402

HANGS_AT, STALL_SECONDS, DEADLINE = 5, 3.0, 120.0


class Rows:
    """This process's half of each batch."""

    def __init__(self, process, num_processes, workdir):
        self.inner, self.drawn = toy_task.iterator(16 // num_processes, seed=process), 0
        self.hangs = process == num_processes - 1
        self.files = [
            pathlib.Path(workdir) / watchdog.FOLDER / f"process_{number}.txt"
            for number in range(num_processes)
        ]

    def __next__(self):
        self.drawn += 1
        if self.hangs and self.drawn == HANGS_AT:
            self.guilty_reader()
        return next(self.inner)

    def guilty_reader(self):
        end = time.monotonic() + DEADLINE
        while not all(file.exists() for file in self.files) and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(1)  # the other one's note is whole

    def get_state(self):
        return self.inner.get_state()

    def set_state(self, state):
        self.inner.set_state(state)


def main(process, num_processes, port, workdir):
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        num_processes=num_processes,
        process_id=process,
        initialization_timeout=60,
    )
    loop.run(
        toy_task.ToyTask(num_steps=8),
        loop.Spec(num_steps=8, log_every=4, stall_seconds=STALL_SECONDS),
        mesh=meshes.make(meshes.Spec()),
        iterator=Rows(process, num_processes, workdir),
        workdir=workdir,
        seed=0,
        inspect=inspection.Spec(profile_steps=range(2, 4)),
    )
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4])
