"""One of several processes that train the toy task together.

`python run_toy_process.py PROCESS NUM_PROCESSES PORT WORKDIR FSDP TERMINATE_AT`: the last process
sends itself SIGTERM, as a preemption does, when the step TERMINATE_AT is reported; 0 = never.
"""

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

import grain  # noqa: E402
import toy_task  # noqa: E402

from resgen_jax.training import loop  # noqa: E402
from resgen_jax.training import mesh as meshes  # noqa: E402

BATCH_SIZE = 16


def main(process, num_processes, port, workdir, fsdp, terminate_at):
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        num_processes=num_processes,
        process_id=process,
        initialization_timeout=60,
    )
    rows = BATCH_SIZE // num_processes
    dataset = grain.MapDataset.source(toy_task.rows()).seed(0).shuffle().repeat()
    dataset = dataset[process::num_processes].batch(rows, drop_remainder=True)
    here = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)

    def held_out():
        for batch in toy_task.held_out(BATCH_SIZE):
            yield {name: x[process * rows : (process + 1) * rows] for name, x in batch.items()}

    def report(progress):
        if terminate_at and progress.step >= terminate_at:
            if progress.step == terminate_at and process == num_processes - 1:
                os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.3)  # the notice travels through the coordinator

    try:
        state = loop.run(
            toy_task.ToyTask(num_steps=20),
            loop.Spec(num_steps=20, log_every=1, evaluate_every=8, checkpoint_every=6),
            mesh=meshes.make(meshes.Spec(fsdp=fsdp)),
            iterator=iter(dataset.to_iter_dataset(here)),
            held_out=held_out,
            workdir=workdir,
            seed=0,
            progress=report,
        )
        sys.stdout.write(f"finished {int(state.step)}\n")
    except loop.Stopped as stopped:
        sys.stdout.write(f"stopped {stopped.step}\n")
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4], *map(int, sys.argv[5:]))
