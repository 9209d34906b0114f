"""Seconds in words, rounded once."""

import pytest

from resgen_jax.core import durations


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.04, "0.0 s"),
        (59.9, "59.9 s"),
        (59.96, "1 min 00 s"),
        (119.7, "2 min 00 s"),
        (3599.6, "1 h 00 min"),
        (3661, "1 h 01 min"),
    ],
)
def test_durations_are_said_as_a_person_would(seconds, said):
    assert durations.written(seconds) == said
