"""Levels that are not worth their codes: small gains, and worse than a guess."""

import math

from resgen_jax.metrics import levels


def test_depths_whose_level_adds_less_than_a_tenth_of_a_decibel():
    assert levels.adding_little([19.0, 20.0, 20.05, 20.3, 20.35, 20.3]) == (3, 5, 6)
    assert levels.adding_little([19.0, 20.0]) == levels.adding_little([3.0]) == ()
    assert levels.adding_little([1.0, 2.0], least=1.5) == (2,)


def test_levels_that_cost_more_than_drawing_blindly():
    guess = math.log(64)
    assert levels.worse_than_a_guess([1.0, guess, guess + 0.5, 9.0], 64) == (2, 3)
    assert levels.worse_than_a_guess([guess + 0.005], 64) == ()
