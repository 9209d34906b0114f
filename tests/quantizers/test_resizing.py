"""Resizing matrices against loops over places, and the laws that both modes keep."""

import jax
import jaxtyping
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.quantizers import resizing

SIDES = [(16, 1), (16, 3), (16, 6), (16, 13), (5, 2), (1, 16), (3, 16), (13, 16), (4, 8), (6, 6)]


@pytest.mark.parametrize(("side", "new_side"), SIDES)
def test_a_new_place_of_area_is_the_mean_of_the_places_it_touches(side, new_side):
    matrix = resizing.area_matrix(side, new_side)
    for row in range(new_side):
        # In units of 1 / (side new_side), where both kinds of places have whole ends.
        touched = [
            place
            for place in range(side)
            if (place + 1) * new_side > row * side and place * new_side < (row + 1) * side
        ]
        expected = np.isin(np.arange(side), touched) / len(touched)
        np.testing.assert_allclose(matrix[row], expected, rtol=1e-6)


@pytest.mark.parametrize(("side", "new_side"), SIDES)
def test_bicubic_is_the_four_tap_formula(side, new_side):
    values = np.random.default_rng(0).normal(size=side)
    found = resizing.bicubic_matrix(side, new_side) @ values
    for row in range(new_side):
        place = side / new_side * (row + 0.5) - 0.5
        base = int(np.floor(place))
        weights = four_taps(place - base, -0.75)
        taken = [values[np.clip(base + offset, 0, side - 1)] for offset in (-1, 0, 1, 2)]
        np.testing.assert_allclose(found[row], np.dot(weights, taken), atol=1e-6)


def four_taps(t, sharp):
    def near(d):
        return ((sharp + 2) * d - (sharp + 3)) * d * d + 1

    def far(d):
        return ((sharp * d - 5 * sharp) * d + 8 * sharp) * d - 4 * sharp

    return far(t + 1), near(t), near(1 - t), far(2 - t)


@pytest.mark.parametrize("make", [resizing.area_matrix, resizing.bicubic_matrix])
def test_constants_stay_and_the_same_side_changes_nothing(make):
    for side, new_side in SIDES:
        np.testing.assert_allclose(make(side, new_side).sum(1), 1.0, rtol=1e-6)
    np.testing.assert_array_equal(make(7, 7), np.eye(7))


def test_both_sides_are_resized(key):
    grids = jax.random.normal(key, (2, 4, 4, 3))
    matrix = resizing.area_matrix(4, 2)
    found = resizing.resize(grids, matrix)
    expected = np.asarray(grids).reshape(2, 2, 2, 2, 2, 3).mean((2, 4))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_a_side_of_nothing_is_told(monkeypatch):
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    for make in (resizing.area_matrix, resizing.bicubic_matrix):
        with pytest.raises(errors.UserError, match="a side of 3 to 0; expected 1 or more"):
            make(3, 0)
