"""The picture of a sweep: what is in it changes with what it is told."""

import numpy as np

from resgen_jax.evaluation import pareto

POINTS = [
    pareto.Point(0.1, 9.0, "num_steps=4", True),
    pareto.Point(0.2, 5.0, "num_steps=8", True),
    pareto.Point(0.3, 7.0, "num_steps=16", False),
    pareto.Point(0.3, float("inf"), "num_steps=32", False),
]


def test_points_without_a_distance_are_not_drawn_and_all_others_are():
    def drawn(points):
        return np.asarray(pareto.draw(points, "FD", title="Settings"))

    whole = drawn(POINTS)
    np.testing.assert_array_equal(whole, drawn(POINTS[:3]))
    for left_out in range(3):
        rest = [point for number, point in enumerate(POINTS) if number != left_out]
        other = drawn(rest)
        assert other.shape != whole.shape or np.any(other != whole)
    assert drawn(POINTS[3:]).shape[2] == 3
