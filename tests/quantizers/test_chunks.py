"""Chunks hold every row once, within the bound."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.quantizers import chunks, codebook


@pytest.mark.parametrize("num_rows", [1, 7, 64, 100])
@pytest.mark.parametrize("limit", [1, 10, 33, 10_000])
def test_chunks_keep_the_bound_and_join_to_the_whole(num_rows, limit):
    count = chunks.num_chunks(num_rows, 5, limit)
    rows = jnp.arange(2.0 * num_rows).reshape(num_rows, 2)
    parts = chunks.split(rows, count)
    assert parts.shape[1] * 5 <= max(limit, 5)
    np.testing.assert_array_equal(chunks.join(parts, num_rows), rows)
    doubled = chunks.map_rows(lambda part: 2.0 * part, rows, count)
    np.testing.assert_array_equal(doubled, 2.0 * rows)


def test_a_count_that_divides_the_rows_is_taken():
    # 64 rows of 10 within 150 need 5 chunks at least; 8 divides 64 and needs no padding.
    assert chunks.num_chunks(64, 10, 150) == 8
    assert chunks.num_chunks(64, 10, 640) == 1


@pytest.fixture
def mesh():
    """Eight devices, of which four have rows of their own."""
    types = (jax.sharding.AxisType.Auto,) * 3
    return jax.make_mesh((2, 2, 2), ("data", "fsdp", "tensor"), axis_types=types)


def test_devices_take_their_rows_at_a_time_and_not_more_turns(mesh):
    assert chunks.num_chunks(256, 10, 150) == 32
    with jax.set_mesh(mesh):
        # What one device would do with its 64 rows.
        assert chunks.num_chunks(256, 10, 150) == 8
        assert chunks.num_chunks(256, 10, 640) == 1
        assert chunks.num_chunks(3, 10, 10) == 1  # less rows than devices: one each


def test_a_chunk_on_a_mesh_holds_the_bound_on_every_device_and_moves_nothing(mesh):
    """The loop's distances are of the local rows, and no row leaves its device."""
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec(("data", "fsdp")))
    everywhere = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    vectors = jnp.asarray(np.random.default_rng(0).normal(size=(256, 6)), jnp.float32)
    table = jnp.asarray(np.random.default_rng(1).normal(size=(10, 6)), jnp.float32)

    def nearest(vectors, table):
        return codebook.nearest_code(vectors, table, max_distances=160)

    placed = jax.device_put(vectors, rows), jax.device_put(table, everywhere)
    with jax.set_mesh(mesh):
        compiled = jax.jit(nearest, out_shardings=rows).lower(*placed).compile()
    text = compiled.as_text()
    assert '"known_trip_count":{"n":"4"}' in text
    assert "f32[10,16]" in text
    assert "f32[10,64]" not in text
    assert not any(name in text for name in ("all-gather", "all-to-all", "collective-permute"))
    np.testing.assert_array_equal(compiled(*placed), jax.jit(nearest)(vectors, table))


def test_neighbours_go_to_different_chunks():
    parts = chunks.split(jnp.arange(8), 2)
    np.testing.assert_array_equal(parts, [[0, 2, 4, 6], [1, 3, 5, 7]])


def test_a_tree_of_rows_is_taken_apart_together():
    rows = {"left": jnp.arange(10.0).reshape(5, 2), "right": jnp.arange(5)}
    found = chunks.map_rows(
        lambda part: part["left"][:, 0] + part["right"].astype(jnp.float32), rows, 2
    )
    np.testing.assert_array_equal(found, [0, 3, 6, 9, 12])
