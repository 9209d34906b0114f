"""Chunks hold every row once, within the bound."""

import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.quantizers import chunks


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


def test_neighbours_go_to_different_chunks():
    parts = chunks.split(jnp.arange(8), 2)
    np.testing.assert_array_equal(parts, [[0, 2, 4, 6], [1, 3, 5, 7]])


def test_a_tree_of_rows_is_taken_apart_together():
    rows = {"left": jnp.arange(10.0).reshape(5, 2), "right": jnp.arange(5)}
    found = chunks.map_rows(
        lambda part: part["left"][:, 0] + part["right"].astype(jnp.float32), rows, 2
    )
    np.testing.assert_array_equal(found, [0, 3, 6, 9, 12])
