"""The grids of times by hand, and the mistakes they name."""

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.samplers import time_grids


def test_grids_by_hand():
    np.testing.assert_allclose(time_grids.uniform(4), [1, 0.75, 0.5, 0.25, 0])
    np.testing.assert_allclose(time_grids.uniform_until(4), [1, 0.68, 0.36, 0.04, 0])
    np.testing.assert_allclose(time_grids.uniform_until(3, 0.5), [1, 0.75, 0.5, 0])
    for grid in (time_grids.uniform, time_grids.uniform_until):
        np.testing.assert_array_equal(grid(1), [1, 0])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: time_grids.uniform(0), "num_steps is 0; expected at least 1"),
        (lambda: time_grids.uniform_until(-1), "num_steps is -1"),
        (lambda: time_grids.uniform_until(5, 1.0), "last time 1.0; expected above 0 and below 1"),
        (lambda: time_grids.uniform_until(5, 0.0), "last time 0.0"),
    ],
)
def test_mistakes_are_named(call, message):
    with pytest.raises(errors.UserError, match=message):
        call()
