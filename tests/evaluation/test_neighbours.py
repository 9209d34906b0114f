"""Nearest real images: against brute force, over several blocks."""

import numpy as np

from resgen_jax.evaluation import neighbours


def test_the_nearest_are_those_of_brute_force(monkeypatch):
    monkeypatch.setattr(neighbours, "BLOCK", 3)
    random = np.random.default_rng(0)
    images, among = (random.integers(0, 256, (n, 4, 4, 3), dtype=np.uint8) for n in (5, 11))
    images[2] = among[7]
    order, distance = neighbours.nearest(images, among, 4)
    pairs = images[:, None].astype(float) - among[None]
    expected = np.sqrt(np.mean(pairs**2, axis=(2, 3, 4)))
    np.testing.assert_array_equal(order, np.argsort(expected, axis=1)[:, :4])
    np.testing.assert_allclose(distance, np.sort(expected, axis=1)[:, :4], atol=1e-3)
    assert order[2, 0] == 7


def test_a_difference_is_of_pixels():
    black, gray = np.zeros((1, 2, 2, 1), np.uint8), np.full((1, 2, 2, 1), 5, np.uint8)
    order, distance = neighbours.nearest(black, gray, 3)
    assert (order.tolist(), distance.tolist()) == ([[0]], [[5.0]])
