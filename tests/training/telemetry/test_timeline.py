"""Laws of the timeline, with time told by hand: nothing is counted twice, nothing is lost."""

import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.training.telemetry import timeline


class Clock:
    """Time that passes when told to."""

    def __init__(self):
        self.time = 100.0

    def __call__(self):
        return self.time

    def go(self, seconds):
        self.time += seconds


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def line(clock):
    return timeline.Timeline(now=clock, began=clock() - 3)


def test_phases_nest_and_what_is_outside_is_other(clock, line):
    clock.go(1)
    with line.phase("evaluation"):
        clock.go(2)
        with line.phase("compile"):
            clock.go(4)
            assert line.where.phase == "compile"
        clock.go(8)
        assert line.where.phase == "evaluation"
    clock.go(16)
    assert line.settle() == 3 + 1 + 2 + 4 + 8 + 16
    assert line.seconds == {"startup": 3, "other": 17, "evaluation": 10, "compile": 4}


def test_a_batch_read_behind_a_step_costs_nothing_and_one_that_is_late_costs_the_rest(clock, line):
    line.dispatched()
    began = clock()
    with line.phase("data"):
        clock.go(5)
    line.dispatched()
    line.finished(began + 7)  # heard while the next batch is read
    with line.phase("data"):
        clock.go(20)
    line.finished(began + 17)
    # Step 1 ran 7 s; step 2 was given after 5, began at 7 and ran 10; the batch came at 25.
    assert line.settle() == 3 + 25
    assert line.seconds == {"startup": 3, "step": 17, "data": 8}
    assert line.host_seconds == {"data": 25}


def test_while_a_step_is_under_way_only_what_ended_is_accounted(clock, line):
    line.dispatched()
    clock.go(2)
    line.finished(clock())
    line.dispatched()
    clock.go(50)
    assert line.settle() == 3 + 2
    line.finished(clock())
    assert line.settle() == 3 + 52


def test_the_parts_of_any_history_add_up_to_the_wall_time(clock, line):
    random = np.random.default_rng(0)
    under_way = []
    for _ in range(300):
        with line.phase(str(random.choice(["data", "checkpoint", "evaluation"]))):
            clock.go(random.exponential())
            if random.random() < 0.5:
                with line.phase("compile"):
                    clock.go(random.exponential())
        clock.go(random.exponential())
        if random.random() < 0.6:
            line.dispatched()
            under_way.append(clock())
            clock.go(random.exponential())
        if len(under_way) > random.integers(0, 3):
            # At any moment since it was given; a late or early clock must not lose anything.
            line.finished(random.uniform(under_way.pop(0), clock()))
    while under_way:
        under_way.pop()
        line.finished(clock())
    assert line.settle() == pytest.approx(clock() + 3 - 100)
    assert sum(line.seconds.values()) == pytest.approx(clock() + 3 - 100)
    assert min(line.seconds.values()) >= 0


def test_a_beat_and_a_step_are_seen_from_outside(clock, line):
    with line.phase("evaluation"):
        line.come_to(7)
        clock.go(5)
        line.beat()
        assert line.where == timeline.Where("evaluation", 105.0, 7)
    assert line.where == timeline.Where("other", 105.0, 7)


def test_the_end_of_a_step_is_heard_while_nobody_waits(clock):
    with timeline.Endings(clock) as endings:
        endings.watch(1, jnp.ones(3) * 2)
        endings._watched.put(None)
        endings._thread.join()
        clock.go(9)
        assert endings.of(1) == 100.0
        assert endings.of(2) == 109.0


def test_a_step_that_fails_is_left_to_the_loop(clock):
    class Broken:
        def block_until_ready(self):
            raise RuntimeError("the chip is gone")

    with timeline.Endings(clock) as endings:
        endings.watch(1, Broken())
    assert endings.of(1) == 100.0
