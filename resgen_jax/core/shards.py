"""Over how many devices the rows of a batch lie, off the mesh in scope."""

import math

import jax

BATCH_AXES = ("data", "fsdp")


def num_row_shards() -> int:
    """Shards of a batch's leading axis under `jax.set_mesh`, 1 without a mesh.

    It is read while a program is traced, and a program is traced again under another mesh.
    """
    mesh = jax.sharding.get_abstract_mesh()
    return math.prod(size for axis, size in mesh.shape.items() if axis in BATCH_AXES)
