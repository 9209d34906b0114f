"""Pictures of lines: each is drawn in its colour, and what is not finite is left out."""

import numpy as np

from resgen_jax.evaluation import single_plot

NAMES = {"title": "Seconds", "below": "depth", "beside": "seconds"}


def colours(picture):
    return {tuple(pixel) for pixel in np.asarray(picture).reshape(-1, 3)}


def rgb(colour):
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


def test_each_line_has_its_colour():
    found = {"flat": [(2, 1.0), (4, 1.0)], "steep": [(2, 1.0), (4, 3.0)]}
    drawn = colours(single_plot.lines(found, **NAMES))
    assert {rgb(single_plot.COLOURS[0]), rgb(single_plot.COLOURS[1])} <= drawn
    assert rgb(single_plot.COLOURS[2]) not in drawn


def test_what_is_not_finite_moves_nothing():
    found = {"one": [(2, 1.0), (4, 3.0)]}
    broken = {"one": [(2, 1.0), (4, 3.0), (8, np.inf), (16, np.nan)]}
    first, second = (np.asarray(single_plot.lines(each, **NAMES)) for each in (found, broken))
    np.testing.assert_array_equal(first, second)
