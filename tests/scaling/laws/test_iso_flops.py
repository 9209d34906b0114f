"""The parabola of a budget has its minimum where calculus says, and never beyond the sizes."""

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.scaling.laws import iso_flops

SIZES = np.asarray([1e4, 4e4, 1e5, 5e5])


def losses(best, curvature=0.1, lowest=2.0):
    return lowest + curvature / 2 * (np.log(SIZES) - np.log(best)) ** 2


def test_the_minimum_of_a_parabola_is_found_exactly():
    found = iso_flops.minimum(SIZES, losses(7e4))
    assert found.verdict == "inside"
    assert found.size == pytest.approx(7e4)
    assert found.loss == pytest.approx(2.0)
    assert found.curvature == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("best", "curvature", "verdict", "size"),
    [
        (1e3, 0.1, "below the smallest size", SIZES[0]),
        (1e7, 0.1, "above the largest size", SIZES[-1]),
        (2e4, -0.1, "no minimum", SIZES[-1]),
    ],
)
def test_beyond_the_sizes_the_best_run_stands_for_it(best, curvature, verdict, size):
    found = iso_flops.minimum(SIZES, losses(best, curvature))
    assert (found.verdict, found.size) == (verdict, size)
    assert found.loss == losses(best, curvature).min()


def test_the_drawn_curve_passes_through_the_minimum():
    values = losses(7e4) + np.asarray([0.01, -0.01, 0.01, -0.01])
    found = iso_flops.minimum(SIZES, values)
    curve = iso_flops.parabola(SIZES, values, np.geomspace(SIZES[0], SIZES[-1], 2001))
    assert curve.min() == pytest.approx(found.loss, abs=1e-6)


def test_two_sizes_make_no_parabola():
    with pytest.raises(errors.UserError, match="needs 3 sizes at a budget, not 2"):
        iso_flops.minimum(np.asarray([1e4, 1e4, 1e5]), np.asarray([3.0, 3.1, 2.0]))
