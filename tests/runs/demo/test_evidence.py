"""Pictures of the demo: which half is kept of a grid."""

import numpy as np
import pytest

from resgen_jax.runs.demo import evidence


@pytest.mark.parametrize(
    ("grid", "kept"),
    [
        ((2, 2), [[1, 1], [0, 0]]),
        ((3, 2), [[1, 1], [0, 0], [0, 0]]),
        ((1, 4), [[1, 1, 0, 0]]),
        ((1, 1), [[0]]),
    ],
)
def test_the_first_half_is_kept(grid, kept):
    np.testing.assert_array_equal(evidence.first_half(grid), np.array(kept, bool))
