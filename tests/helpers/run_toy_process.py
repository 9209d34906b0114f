"""One of several processes that train the toy task together.

`python run_toy_process.py PROCESS NUM_PROCESSES PORT WORKDIR FSDP TERMINATE_AT [UNTIL]`: the last
process sends itself SIGTERM, as a preemption does, when the step TERMINATE_AT is reported; 0 =
never, and -1 = in the first held-out batch. UNTIL is the last step. The record numbers of each
process's batches go to WORKDIR/seen-UNTIL-PROCESS.
"""

import json
import os
import pathlib
import signal
import sys
import time

HELPERS = pathlib.Path(__file__).parent
sys.path[:0] = [str(HELPERS), str(HELPERS.parents[1])]

import jax  # noqa: E402

jax.config.update("jax_platforms", "cpu")
jax.config.update("jax_num_cpu_devices", 1)

import toy_task  # noqa: E402

from resgen_jax.data import pipeline  # noqa: E402
from resgen_jax.runtime import mesh as meshes  # noqa: E402
from resgen_jax.training import loop  # noqa: E402

BATCH_SIZE = 16


class Seen:
    """An iterator that keeps the numbers of the records it gave."""

    def __init__(self, inner, path):
        self._inner, self._path = inner, path
        self.get_state, self.set_state = inner.get_state, inner.set_state

    def __next__(self):
        batch = next(self._inner)
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.write(json.dumps(batch["index"].tolist()) + "\n")
        return batch


def main(process, num_processes, port, workdir, fsdp, terminate_at, until=20):
    if num_processes > 1:
        jax.distributed.initialize(
            f"127.0.0.1:{port}",
            num_processes=num_processes,
            process_id=process,
            initialization_timeout=60,
        )
    rows = BATCH_SIZE // num_processes
    mesh = meshes.make(meshes.Spec(fsdp=fsdp))
    data = pipeline.train_iterator(
        toy_task.rows(), batch_size=BATCH_SIZE, seed=0, rows=meshes.rows_here(mesh, BATCH_SIZE)
    )
    is_terminating = process == num_processes - 1

    def held_out(num_batches):
        for batch in toy_task.held_out(
            num_batches, BATCH_SIZE, num_rows=96 if terminate_at < 0 else 24
        ):
            if terminate_at < 0:
                if is_terminating:
                    os.kill(os.getpid(), signal.SIGTERM)
                time.sleep(0.5)
            yield {name: x[process * rows : (process + 1) * rows] for name, x in batch.items()}

    def report(progress):
        if 0 < terminate_at <= progress.step:
            if progress.step == terminate_at and is_terminating:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)  # the notice travels through the coordinator

    try:
        state = loop.run(
            toy_task.ToyTask(num_steps=20),
            loop.Spec(num_steps=until, log_every=1, evaluate_every=8, checkpoint_every=6),
            mesh=mesh,
            iterator=Seen(data, pathlib.Path(workdir) / f"seen-{until}-{process}"),
            held_out=held_out,
            workdir=workdir,
            seed=0,
            progress=report,
        )
        sys.stdout.write(f"finished {int(state.step)}\n")
    except loop.Stopped as stopped:
        sys.stdout.write(f"stopped {stopped.step}\n")
    if num_processes > 1:
        jax.distributed.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4], *map(int, sys.argv[5:]))
