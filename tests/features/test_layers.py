"""Laws of the layers of frozen networks, against loops over windows in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.features import layers


def maps(*shape):
    return np.random.default_rng(0).normal(size=shape).astype(np.float32)


def pooled(values, starts_of, size, reduce):
    """`reduce` over what of each window lies inside; windows begin at `starts_of(side)`."""
    rows = []
    for top in starts_of(values.shape[1]):
        row = []
        for left in starts_of(values.shape[2]):
            window = values[:, max(top, 0) : top + size, max(left, 0) : left + size]
            row.append(reduce(window, axis=(1, 2)))
        rows.append(row)
    return np.moveaxis(np.array(rows), 2, 0)


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 2), (3, 1)])
def test_max_pool_takes_whole_windows(size, stride):
    values = maps(2, 7, 8, 3)
    expected = pooled(values, lambda side: range(0, side - size + 1, stride), size, np.max)
    np.testing.assert_array_equal(layers.max_pool(jnp.asarray(values), size, stride), expected)


def test_a_border_never_wins():
    values = maps(1, 5, 4, 2) - 10
    expected = pooled(values, lambda side: range(-1, side - 1), 3, np.max)
    found = layers.max_pool(jnp.asarray(values), 3, 1, border=(1, 1))
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("side", [4, 5, 6, 7])
def test_max_pool_to_the_edge_misses_no_place(side):
    values = maps(1, side, 9, 2)
    found = layers.max_pool_to_the_edge(jnp.asarray(values), 3, 2)
    expected = pooled(values, lambda side: range(0, side - 1, 2), 3, np.max)
    np.testing.assert_array_equal(found, expected)
    assert found.max() == values.max()


def test_the_gradient_of_max_pool_goes_to_the_largest():
    values = maps(1, 6, 6, 1)
    gradient = jax.grad(lambda x: layers.max_pool(x, 2, 2).sum())(jnp.asarray(values))
    largest = np.kron(layers.max_pool(jnp.asarray(values), 2, 2)[0, ..., 0], np.ones((2, 2)))
    np.testing.assert_array_equal(gradient[0, ..., 0], values[0, ..., 0] == largest)


@pytest.mark.parametrize("size", [3, 5])
def test_average_pool_counts_only_what_lies_inside(size):
    values = maps(2, 4, 6, 3)
    expected = pooled(values, lambda side: range(-(size // 2), side - size // 2), size, np.mean)
    found = layers.average_pool(jnp.asarray(values), size)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_init_keeps_the_variance_through_a_relu(key):
    kernel = layers.init({"a": layers.kernel_shapes(3, 3, 50, 60)}, key)["a"]
    assert kernel["kernel"].std() == pytest.approx((2 / 450) ** 0.5, rel=0.02)
    assert not kernel["bias"].any()
