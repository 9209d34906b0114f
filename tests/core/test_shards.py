"""The rows of a batch are counted as the mesh in scope splits them."""

import jax
import jax.numpy as jnp

from resgen_jax.core import shards


def make_mesh(data, fsdp, tensor):
    types = (jax.sharding.AxisType.Auto,) * 3
    return jax.make_mesh((data, fsdp, tensor), ("data", "fsdp", "tensor"), axis_types=types)


def test_only_the_axes_of_a_batch_count_and_without_a_mesh_it_is_one():
    assert shards.num_row_shards() == 1
    with jax.set_mesh(make_mesh(2, 2, 2)):
        assert shards.num_row_shards() == 4
    with jax.set_mesh(make_mesh(1, 1, 8)):
        assert shards.num_row_shards() == 1
    assert shards.num_row_shards() == 1


def test_a_traced_program_is_traced_again_under_another_mesh():
    count = jax.jit(lambda x: x * shards.num_row_shards())
    assert count(jnp.int32(1)) == 1
    for data, expected in ((8, 8), (4, 4)):
        with jax.set_mesh(make_mesh(data, 1, 8 // data)):
            assert count(jnp.int32(1)) == expected
    assert count(jnp.int32(1)) == 1
