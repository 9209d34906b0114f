"""Laws of the mesh and of the rules that place arrays on it."""

import jax
import numpy as np
import pytest
import toy_task
from jax.sharding import PartitionSpec as P

from resgen_jax.core import errors
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import placement


@pytest.mark.parametrize(
    ("spec", "sizes"),
    [
        ((-1, 1, 1), (8, 1, 1)),
        ((2, -1, 2), (2, 2, 2)),
        ((1, 8, 1), (1, 8, 1)),
        ((4, 2, -1), (4, 2, 1)),
    ],
)
def test_minus_one_takes_the_rest(spec, sizes):
    assert tuple(meshes.make(meshes.Spec(*spec)).shape.values()) == sizes


@pytest.mark.parametrize(
    "spec", [(3, 1, 1), (-1, 3, 1), (-1, -1, 1), (0, 1, 8), (8, 2, 1), (-2, 1, 1)]
)
def test_a_mesh_that_does_not_fit_names_its_sizes(spec):
    with pytest.raises(errors.UserError, match=f"data={spec[0]}, fsdp={spec[1]}"):
        meshes.make(meshes.Spec(*spec))


def test_rules_place_each_dimension_and_leave_odd_sizes_whole():
    mesh = meshes.make(meshes.Spec(2, 2, 2))

    def place(shape, axes):
        return meshes.leaf_sharding(mesh, shape, axes).spec

    assert place((3, 4, 8), ("layers", "embed", "mlp")) == P(None, "fsdp", "tensor")
    assert place((16, 4), ("batch", None)) == P(("data", "fsdp"), None)
    assert place((5, 8), ("embed", "mlp")) == P(None, "tensor")
    assert place((8, 8), ("mlp", "heads")) == P("tensor", None)
    assert place((6, 4), ("batch", "embed")) == P(None, "fsdp")
    assert place((), ()) == P()


def test_an_unknown_axis_names_the_nearest():
    mesh = meshes.make(meshes.Spec())
    with pytest.raises(ValueError, match=r"embd.*'embed'"):
        meshes.leaf_sharding(mesh, (4,), ("embd",))


def test_moments_lie_with_their_parameters():
    mesh = meshes.make(meshes.Spec(2, 2, 2))
    task = toy_task.ToyTask()
    shardings = placement.state_shardings(mesh, task)
    assert shardings.params["up"]["kernel"].spec == P("fsdp", "tensor")
    adam = next(part for part in shardings.opt_state if hasattr(part, "mu"))
    assert adam.mu == shardings.params
    assert adam.nu == shardings.params
    assert adam.count.spec == P()


def test_batch_size_errors_name_sizes_that_work():
    mesh = meshes.make(meshes.Spec(4, 2, 1))
    meshes.check_batch_size(mesh, 24)
    meshes.check_batch_size(mesh, 32, num_microbatches=2)
    with pytest.raises(errors.UserError, match=r"20.*use 16 or 24"):
        meshes.check_batch_size(mesh, 20)
    with pytest.raises(errors.UserError, match=r"24.*use 16 or 32"):
        meshes.check_batch_size(mesh, 24, num_microbatches=2)
    with pytest.raises(errors.UserError, match="use 8"):
        meshes.check_batch_size(mesh, 0)


@pytest.mark.parametrize("sizes", [(8, 1, 1), (2, 2, 2), (1, 1, 8)])
def test_one_process_holds_every_row_in_order(sizes):
    mesh = meshes.make(meshes.Spec(*sizes))
    np.testing.assert_array_equal(meshes.rows_here(mesh, 16), np.arange(16))
    with pytest.raises(errors.UserError, match=r"20.*use 16 or 24"):
        meshes.rows_here(meshes.make(meshes.Spec(8, 1, 1)), 20)


def test_a_mesh_over_devices_in_any_order_keeps_the_rows_in_order():
    devices = jax.devices()[::-1]
    mesh = meshes.make(meshes.Spec(4, 2, 1), devices)
    rows = np.arange(48, dtype=np.float32).reshape(16, 3)
    np.testing.assert_array_equal(meshes.put_batch(mesh, {"rows": rows})["rows"], rows)
