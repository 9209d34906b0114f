"""One of several processes that train the small tasks together.

`python run_tasks_process.py PROCESS NUM_PROCESSES PORT OUTPUT FSDP`: writes each task's metrics and
its statistics, as this process sees them, to OUTPUT.PROCESS.npz.
"""

import pathlib
import sys

HELPERS = pathlib.Path(__file__).parent
sys.path[:0] = [str(HELPERS), str(HELPERS.parents[1])]

import jax  # noqa: E402
import mesh_laws  # noqa: E402
import mesh_tasks  # noqa: E402
import numpy as np  # noqa: E402
from jax.experimental import multihost_utils  # noqa: E402

from resgen_jax.core import trees  # noqa: E402
from resgen_jax.runtime import mesh as meshes  # noqa: E402


def rows_of(batch, process, num_processes):
    """This process's rows of a global batch."""
    share = len(next(iter(batch.values()))) // num_processes
    return {name: rows[process * share :][:share] for name, rows in batch.items()}


def figures(mesh, process=0, num_processes=1):
    """`TASK/metric` over the steps and `TASK/statistics/NAME` after them."""
    found = {}
    for task_name, make in mesh_tasks.TASKS.items():
        task, batches = make()
        batches = [rows_of(batch, process, num_processes) for batch in batches]
        state, history = mesh_laws.run_steps(task, mesh, batches)
        for name in history[0]:
            found[f"{task_name}/{name}"] = np.array([metrics[name] for metrics in history])
        statistics = multihost_utils.process_allgather(state.statistics, tiled=True)
        for name, value in trees.named_leaves(statistics).items():
            found[f"{task_name}/statistics/{name}"] = np.asarray(value)
    return found


def main(process, num_processes, port, output, fsdp):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 1)
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        num_processes=num_processes,
        process_id=process,
        initialization_timeout=60,
    )
    mesh = meshes.make(meshes.Spec(fsdp=fsdp))
    np.savez(f"{output}.{process}.npz", **figures(mesh, process, num_processes))
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]), sys.argv[4], int(sys.argv[5]))
