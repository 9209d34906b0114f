"""Laws of the step clock, with time told by hand."""

import numpy as np
import pytest

from resgen_jax.training.telemetry import clock


@pytest.fixture
def time():
    return [100.0]


@pytest.fixture
def steps(time):
    steps = clock.StepClock(now=lambda: time[0])
    steps.start()
    return steps


def take(steps, time, *seconds):
    """Steps of these lengths; what the clock says of each."""
    said = []
    for length in seconds:
        time[0] += length
        said.append(steps.step())
    return said


def test_pauses_do_not_count(steps, time):
    assert steps.seconds_left(5) is None
    take(steps, time, 0.5, 0.5, 0.5, 0.5)
    with steps.pause():
        time[0] += 60
    assert steps.lap().mean == pytest.approx(0.5)
    take(steps, time, 2, 2)
    assert steps.lap().mean == pytest.approx(2.0)
    # Six steps took six seconds.
    assert steps.seconds_left(10) == pytest.approx(10.0)


def test_a_pause_within_a_step_is_taken_off_that_step(steps, time):
    take(steps, time, 1)
    with steps.pause():
        time[0] += 60
    take(steps, time, 3)
    assert steps.lap() == pytest.approx(clock.Lap(2, 1, 2, 2.9, 3))


def test_a_lap_tells_how_its_steps_spread(steps, time):
    take(steps, time, 7)
    steps.lap()
    seconds = np.random.default_rng(0).exponential(size=40)
    take(steps, time, *seconds)
    ordered = np.sort(seconds)
    assert steps.lap() == pytest.approx(
        clock.Lap(
            sum(seconds) / 40,
            (sum((seconds - sum(seconds) / 40) ** 2) / 40) ** 0.5,
            (ordered[19] + ordered[20]) / 2,
            ordered[37] + 0.05 * (ordered[38] - ordered[37]),
            ordered[-1],
        )
    )


def test_a_step_of_many_times_the_median_is_slow(steps, time):
    assert take(steps, time, 50, *[2.0] * 20, 9.9) == [None] * 22
    assert take(steps, time, 20.0, 2.0) == [pytest.approx(clock.Slow(20, 10)), None]


def test_a_step_below_a_second_is_never_slow(steps, time):
    assert take(steps, time, *[0.01] * 20, 0.9) == [None] * 21
    assert take(steps, time, 1.2) == [pytest.approx(clock.Slow(1.2, 120))]
