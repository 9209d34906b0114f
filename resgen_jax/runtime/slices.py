"""Devices in slices: fast links (ICI, NVLink) within one, the data centre's network between them.

A TPU slice is what one `gcloud` or JobSet entry rents; a GPU's is its host, or its NVLink domain.
"""

import collections
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from jax.experimental import mesh_utils

from resgen_jax.core import errors

Sizes = tuple[int, int, int]
NAMES = ("dcn_data", "dcn_fsdp")


def count(devices: Sequence[Any]) -> int:
    """How many slices the devices lie in; UserError if these have different sizes."""
    sizes = collections.Counter(_slice_of(device) for device in devices)
    if len(set(sizes.values())) > 1:
        listed = ", ".join(str(sizes[name]) for name in sorted(sizes))
        raise errors.UserError(
            f"the {len(devices)} devices lie in slices of {listed}; a mesh needs slices of one size"
        )
    return len(sizes)


def describe(devices: Sequence[Any]) -> str:
    """`2 processes x 4 devices, in 1 slice`."""
    sizes = sorted(collections.Counter(device.process_index for device in devices).values())
    each = f"{sizes[0]}" if sizes[0] == sizes[-1] else f"{sizes[0]} to {sizes[-1]}"
    processes = _plural(len(sizes), "process", "processes")
    slices = _plural(len({_slice_of(device) for device in devices}), "slice", "slices")
    return f"{processes} x {each} device{'s' * (each != '1')}, in {slices}"


def axis_slices(asked: tuple[int, int], sizes: Sizes, num_slices: int) -> Sizes:
    """Over how many slices each axis of a mesh of these sizes lies; tensor stays within one.

    `asked` is for data and fsdp; -1 takes the slices that are left, both -1 as many along data as
    divide it. Raises UserError, with the arithmetic, where they do not fit.
    """
    data, fsdp = asked
    written = ", ".join(f"{name}={size}" for name, size in zip(NAMES, asked, strict=True))
    if any(size < 1 and size != -1 for size in asked):
        raise errors.UserError(
            f"mesh {written}: every number of slices is at least 1, or -1 (those that are left)"
        )
    if asked == (-1, -1):
        data = math.gcd(sizes[0], num_slices)
        fsdp = num_slices // data
    elif data == -1:
        data = num_slices // fsdp
    elif fsdp == -1:
        fsdp = num_slices // data
    if data * fsdp != num_slices:
        raise errors.UserError(
            f"mesh {written} asks for {'a multiple of ' * (-1 in asked)}"
            f"{math.prod(size for size in asked if size != -1)} slices, but the devices lie in "
            f"{num_slices}: change mesh.dcn_data or mesh.dcn_fsdp (-1 takes the slices that are "
            "left)"
        )
    across = (data, fsdp, 1)
    for name, size, slices in zip(("data", "fsdp"), sizes, across, strict=False):
        if size % slices:
            raise errors.UserError(
                f"mesh.{name} is {size} and lies over {slices} of the {num_slices} slices "
                f"({written}), but {size} / {slices} is not whole: take a multiple of {slices} for "
                f"mesh.{name}, or other slices for mesh.dcn_data and mesh.dcn_fsdp"
            )
    return across


def grid(devices: Sequence[Any], sizes: Sizes, across: Sizes) -> np.ndarray:
    """The devices as a mesh of these sizes; neighbours in it are neighbours in the slice."""
    # An axis of the mesh may be shorter than one of the torus.
    if math.prod(across) == 1:
        return mesh_utils.create_device_mesh(sizes, devices, allow_split_physical_axes=True)
    within = tuple(size // slices for size, slices in zip(sizes, across, strict=True))
    return mesh_utils.create_hybrid_device_mesh(
        within, across, devices, allow_split_physical_axes=True
    )


def _slice_of(device: Any) -> int:
    # CPU devices have none: they are one slice.
    return getattr(device, "slice_index", None) or 0


def _plural(number: int, one: str, many: str) -> str:
    return f"{number} {one if number == 1 else many}"
