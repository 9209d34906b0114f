"""The device mesh, and the rules that place arrays and batches on it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from resgen_jax.core import build, errors, shards
from resgen_jax.runtime import slices

PyTree = Any
Batch = dict[str, Any]

AXES = ("data", "fsdp", "tensor")

# Which mesh axes split a logical axis. The batch is split over data and fsdp alike: fsdp splits the
# parameters as well, tensor splits the matrix products.
RULES: Mapping[str, str | tuple[str, ...] | None] = {
    "batch": shards.BATCH_AXES,
    "embed": "fsdp",
    "channels": "fsdp",
    "mlp": "tensor",
    "heads": "tensor",
    "components": "tensor",
    "vocab": "tensor",
    "layers": None,
}


@dataclasses.dataclass(frozen=True)
class Spec:
    """Sizes of the mesh axes; one of the first three may be -1: all the devices that are left.

    With several slices (TPU pods joined by the data centre's network, hosts of GPUs) dcn_data and
    dcn_fsdp say over how many of them an axis lies; -1 takes those that are left, along data first.
    """

    data: int = -1  # devices that share a batch; -1 = all that are left
    fsdp: int = 1  # devices that share a batch and the parameters
    tensor: int = 1  # devices that share the width of each layer
    dcn_data: int = -1  # slices over which `data` lies; -1 = those that are left
    dcn_fsdp: int = -1  # slices over which `fsdp` lies; -1 = those that are left


def make(spec: Spec, devices: Sequence[Any] | None = None) -> Mesh:
    """The mesh of `spec` over all devices (or those given); one device is the mesh (1, 1, 1).

    Raises UserError if the sizes do not multiply to the number of devices, or do not fit their
    slices.
    """
    devices = jax.devices() if devices is None else list(devices)
    sizes = axis_sizes(spec, len(devices), slices.describe(devices))
    across = slices.axis_slices((spec.dcn_data, spec.dcn_fsdp), sizes, slices.count(devices))
    return Mesh(slices.grid(devices, sizes, across), AXES, axis_types=(AxisType.Auto,) * 3)


def axis_sizes(spec: Spec, num_devices: int, made_of: str = "") -> tuple[int, int, int]:
    """Sizes of the axes over so many devices; UserError if they do not multiply to as many.

    The error quotes `made_of`, what the devices are.
    """
    sizes = [spec.data, spec.fsdp, spec.tensor]
    written = ", ".join(f"{axis}={size}" for axis, size in zip(AXES, sizes, strict=True))
    if sizes.count(-1) > 1 or any(size < 1 and size != -1 for size in sizes):
        raise errors.UserError(
            f"mesh {written}: every size is at least 1, and one of them may be -1 (the rest)"
        )
    given = math.prod(size for size in sizes if size != -1)
    if -1 in sizes and num_devices % given == 0:
        sizes[sizes.index(-1)] = num_devices // given
    if math.prod(sizes) != num_devices:
        raise errors.UserError(
            f"mesh {written} asks for {'a multiple of ' * (-1 in sizes)}{given} devices, but there "
            f"are {num_devices}{f' ({made_of})' * bool(made_of)}: change mesh.data, mesh.fsdp or "
            "mesh.tensor (-1 takes the devices that are left)"
        )
    data, fsdp, tensor = sizes
    return data, fsdp, tensor


def replicated(mesh: Mesh) -> NamedSharding:
    """A whole copy on every device."""
    return NamedSharding(mesh, PartitionSpec())


def leaf_sharding(
    mesh: Mesh,
    shape: Sequence[int],
    axes: Sequence[str | None],
    rules: Mapping[str, str | tuple[str, ...] | None] = RULES,
) -> NamedSharding:
    """Where an array goes whose dimensions have these logical names.

    A dimension stays whole if the mesh axes do not divide it or an earlier one took them.
    """
    parts: list[str | tuple[str, ...] | None] = []
    taken: set[str] = set()
    for size, name in zip(shape, axes, strict=True):
        if name is not None and name not in rules:
            raise ValueError(f"no rule for the logical axis {name!r}; {build.nearest(name, rules)}")
        part = rules[name] if name is not None else None
        names = (part,) if isinstance(part, str) else part or ()
        is_free = not taken.intersection(names)
        if names and is_free and size % math.prod(mesh.shape[axis] for axis in names) == 0:
            taken.update(names)
            parts.append(part)
        else:
            parts.append(None)
    return NamedSharding(mesh, PartitionSpec(*parts))


def tree_shardings(mesh: Mesh, tree: PyTree, axes: PyTree, rules: Mapping = RULES) -> PyTree:
    """`leaf_sharding` of every leaf; `axes` is the same tree with a tuple of names for each."""
    return jax.tree.map(
        lambda leaf, names: leaf_sharding(mesh, leaf.shape, names, rules), tree, axes
    )


def batch_sharding(mesh: Mesh) -> NamedSharding:
    """Rows of a batch over the axes data and fsdp."""
    return NamedSharding(mesh, PartitionSpec(RULES["batch"]))


def rows_here(mesh: Mesh, batch_size: int) -> np.ndarray:
    """The rows of a global batch that this process's devices hold, ascending.

    Where the axis tensor lies over several processes these hold the same rows. Raises UserError if
    the mesh does not split the batch evenly.
    """
    check_batch_size(mesh, batch_size)
    places = batch_sharding(mesh).addressable_devices_indices_map((batch_size,))
    every = np.arange(batch_size)
    return np.unique(np.concatenate([every[index] for index in places.values()]))


def put_batch(mesh: Mesh, host_batch: Batch) -> Batch:
    """Global arrays of a batch of which every process holds its rows, those of `rows_here`.

    Raises UserError if the mesh does not split the batch evenly.
    """
    num_shards = mesh.shape["data"] * mesh.shape["fsdp"]
    num_rows = len(next(iter(host_batch.values())))
    batch_size = num_rows * num_shards // len(rows_here(mesh, num_shards))
    numbers, sharding = rows_here(mesh, batch_size), batch_sharding(mesh)

    def put(rows: np.ndarray) -> jax.Array:
        def shard(index: Any) -> np.ndarray:
            start, stop, _ = index[0].indices(batch_size)
            first = int(np.searchsorted(numbers, start))
            return rows[first : first + stop - start]

        return jax.make_array_from_callback((batch_size, *rows.shape[1:]), sharding, shard)

    return {name: put(np.asarray(rows)) for name, rows in host_batch.items()}


def check_batch_size(mesh: Mesh, batch_size: int, num_microbatches: int = 1) -> None:
    """Raises UserError, with the nearest sizes that work, unless the mesh splits the batch."""
    num_shards = mesh.shape["data"] * mesh.shape["fsdp"]
    unit = num_shards * num_microbatches
    if batch_size > 0 and batch_size % unit == 0:
        return
    below = max(batch_size, 0) // unit * unit
    choices = f"{below} or {below + unit}" if below else f"{unit}"
    raise errors.UserError(
        f"data.batch_size {batch_size} is not a positive multiple of {unit} "
        f"({num_shards} devices along data and fsdp x {num_microbatches} microbatches): "
        f"use {choices}"
    )
