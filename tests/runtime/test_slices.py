"""Laws of meshes over several slices, on devices that are made up."""

import dataclasses

import jax
import numpy as np
import pytest
import toy_task
from jax.experimental import topologies

from resgen_jax.core import errors
from resgen_jax.runtime import mesh as meshes
from resgen_jax.runtime import slices
from resgen_jax.scaling.compile import compile_ahead
from resgen_jax.training import placement


@dataclasses.dataclass(frozen=True)
class Device:
    """What a mesh asks of a device."""

    id: int
    process_index: int
    slice_index: int
    platform: str = "cpu"
    device_kind: str = "cpu"


def devices(num_slices, size, on_process=4):
    """Slices of `size` devices, told in another order than that of the slices."""
    found = [
        Device(slice_index * size + place, (slice_index * size + place) // on_process, slice_index)
        for slice_index in range(num_slices)
        for place in range(size)
    ]
    return found[size // 2 :] + found[: size // 2]


def slices_along(grid, axis):
    """The slice of each place along an axis, where it is the same at all others."""
    numbers = np.vectorize(lambda device: device.slice_index)(grid)
    lines = np.moveaxis(numbers, axis, 0).reshape(grid.shape[axis], -1)
    return [sorted(set(line.tolist())) for line in lines]


@pytest.mark.parametrize(
    ("asked", "sizes", "num_slices", "across"),
    [
        ((-1, -1), (8, 1, 1), 1, (1, 1, 1)),
        ((-1, -1), (8, 4, 1), 4, (4, 1, 1)),
        ((-1, -1), (1, 8, 1), 2, (1, 2, 1)),
        ((-1, -1), (2, 16, 1), 4, (2, 2, 1)),
        ((1, -1), (8, 8, 1), 4, (1, 4, 1)),
        ((2, 2), (8, 8, 1), 4, (2, 2, 1)),
    ],
)
def test_slices_that_are_not_given_are_found(asked, sizes, num_slices, across):
    assert slices.axis_slices(asked, sizes, num_slices) == across


@pytest.mark.parametrize(
    ("asked", "sizes", "num_slices", "said"),
    [
        ((3, 1), (6, 1, 1), 2, "dcn_data=3, dcn_fsdp=1 asks for 3 slices, .* lie in 2"),
        ((-1, 3), (8, 3, 1), 4, "asks for a multiple of 3 slices, .* lie in 4"),
        ((4, 1), (6, 4, 1), 4, "mesh.data is 6 .* over 4 of the 4 slices .*6 / 4 is not whole"),
        ((-1, -1), (1, 1, 16), 2, "mesh.fsdp is 1 .* over 2 of the 2 slices .*1 / 2"),
        ((0, 1), (8, 1, 1), 1, "dcn_data=0.*at least 1"),
        ((-2, 1), (8, 1, 1), 1, "dcn_data=-2.*at least 1"),
    ],
)
def test_slices_that_do_not_fit_are_refused_with_the_arithmetic(asked, sizes, num_slices, said):
    with pytest.raises(errors.UserError, match=said) as refused:
        slices.axis_slices(asked, sizes, num_slices)
    assert "mesh.dcn" in str(refused.value) or "-1" in str(refused.value)


def test_only_the_axes_that_are_told_to_cross_slices():
    sizes, across = (4, 4, 2), (2, 2, 1)
    grid = slices.grid(devices(4, 8), sizes, across)
    assert grid.shape == sizes
    assert {device.id for device in grid.flat} == set(range(32))
    # A step within a slice stays there; a step over the middle leaves it.
    assert slices_along(grid, 0) == [[0, 1], [0, 1], [2, 3], [2, 3]]
    assert slices_along(grid, 1) == [[0, 2], [0, 2], [1, 3], [1, 3]]
    assert slices_along(grid, 2) == [[0, 1, 2, 3]] * 2


def test_slices_of_different_sizes_are_refused():
    with pytest.raises(errors.UserError, match="slices of 8, 4"):
        slices.count(devices(1, 8) + [Device(9 + place, 2, 1) for place in range(4)])


def test_a_mesh_that_does_not_fit_says_what_the_devices_are():
    there = devices(2, 8)
    said = r"asks for a multiple of 3 devices, but there are 16 \(4 processes x 4 devices, in 2 sl"
    with pytest.raises(errors.UserError, match=said):
        meshes.make(meshes.Spec(fsdp=3), there)
    with pytest.raises(errors.UserError, match="mesh.data is 1 "):
        meshes.make(meshes.Spec(data=1, fsdp=16, dcn_data=2), there)


@pytest.mark.slow
def test_a_step_compiles_for_two_tpu_slices(monkeypatch):
    pytest.importorskip("libtpu")
    monkeypatch.setenv("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    there = topologies.get_topology_desc("v5e:4x4", platform="tpu", num_slices=2).devices
    mesh = meshes.make(meshes.Spec(fsdp=8, tensor=2), there)
    assert mesh.shape == {"data": 2, "fsdp": 8, "tensor": 2}
    assert slices_along(mesh.devices, 0) == [[0], [1]]
    task = toy_task.ToyTask()
    state, rows = placement.abstract_state(mesh, task), meshes.batch_sharding(mesh)
    batch = {
        name: jax.ShapeDtypeStruct(values.shape, values.dtype, sharding=rows)
        for name, values in toy_task.batch(32).items()
    }
    program = compile_ahead.compile_program(
        mesh, *compile_ahead.training(task, mesh, state, batch)
    ).compiled
    text = program.as_text()
    assert "all-reduce" in text
    assert "all-gather" in text
