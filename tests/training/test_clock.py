"""Laws of the step clock, with time told by hand."""

import pytest

from resgen_jax.training import clock


def test_pauses_do_not_count():
    time = [100.0]
    steps = clock.StepClock(now=lambda: time[0])
    assert steps.seconds_left(5) is None
    steps.start()
    for _ in range(4):
        time[0] += 0.5
        steps.step()
    with steps.pause():
        time[0] += 60
    assert steps.lap() == pytest.approx(0.5)
    for _ in range(2):
        time[0] += 2
        steps.step()
    assert steps.lap() == pytest.approx(2.0)
    # Six steps took six seconds.
    assert steps.seconds_left(10) == pytest.approx(10.0)
