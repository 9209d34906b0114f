"""One of several processes that measure the same images together.

`python run_collect_process.py PROCESS NUM_PROCESSES PORT`: says the figures as JSON.
"""

import json
import pathlib
import sys

HELPERS = pathlib.Path(__file__).parent
sys.path[:0] = [str(HELPERS), str(HELPERS.parents[1])]

import jax  # noqa: E402
import numpy as np  # noqa: E402
import tiny_features  # noqa: E402

from resgen_jax.evaluation import distances, features, reference, samples  # noqa: E402
from resgen_jax.runtime import mesh as meshes  # noqa: E402

NUM_IMAGES, BATCH_SIZE = 45, 8  # the last batch has rows of padding


def figures(mesh):
    """All metrics of some random images against others, measured on a mesh."""
    pixels = np.random.default_rng(0).integers(0, 256, (2 * NUM_IMAGES, 8, 8, 3), dtype=np.uint8)
    extractor = tiny_features.extractor(mesh)
    sets = [
        features.collect(extractor, samples.of_array(part, "pixels"), batch_size=BATCH_SIZE)
        for part in (pixels[:NUM_IMAGES], pixels[NUM_IMAGES:] // 16 * 15)
    ]
    sharding = meshes.batch_sharding(mesh)
    return distances.measure(extractor, sets[1], reference.of(sets[0], {}), sharding=sharding)


def main(process, num_processes, port):
    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_num_cpu_devices", 1)
    jax.distributed.initialize(
        f"127.0.0.1:{port}",
        num_processes=num_processes,
        process_id=process,
        initialization_timeout=60,
    )
    sys.stdout.write(json.dumps(figures(meshes.make(meshes.Spec()))) + "\n")
    jax.distributed.shutdown()


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
