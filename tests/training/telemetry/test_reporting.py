"""What is logged of the speed, with time told by hand."""

import pytest

from resgen_jax.training import loop
from resgen_jax.training.telemetry import (
    goodput,
    inspection,
    observers,
    reporting,
    timeline,
    writer,
)

SECONDS = 0.25


@pytest.fixture
def time():
    return [100.0]


@pytest.fixture
def report(tmp_path, time):
    """A reporter of 40 steps, and its events."""
    spec, events = loop.Spec(num_steps=40, log_every=10), []
    tools = observers.Instruments(
        tmp_path, spec, inspect=inspection.NOTHING, began=None, warn=events.append
    )
    tools.line = timeline.Timeline(now=lambda: time[0])
    tools.spent = goodput.Goodput(tools.line, goodput.earlier(tmp_path))
    with writer.Writer(tmp_path) as out:
        rates = lambda seconds: {"examples_per_second": 16 / seconds}  # noqa: E731
        remarks = lambda metrics: {n: f"{n}!" for n in metrics if n != "loss"}  # noqa: E731
        made = reporting.Reporter(
            out, events.append, spec, rates=rates, tools=tools, remarks=remarks
        )
        made.compiled(1, 3.0)
        yield made, tools.line, events


def train(report, time, steps, seconds=SECONDS, data_seconds=0.0):
    reporter, line, _ = report
    for step in steps:
        with line.phase("data"):
            time[0] += data_seconds
        line.dispatched()
        time[0] += seconds
        line.finished(time[0])
        reporter.stepped(step, {"loss": 1.0})


def speeds(tmp_path):
    return [line for line in writer.read(tmp_path) if line["split"] == "speed"]


def test_a_line_tells_pace_spread_and_wait_for_data(report, time, tmp_path):
    train(report, time, range(1, 10), data_seconds=0.75)
    train(report, time, [10], seconds=5.25, data_seconds=0.75)
    compiled, first, line = speeds(tmp_path)
    assert compiled["compile_seconds"] == 3
    assert (first["step"], first["data_seconds"], first["step_seconds"]) == (1, 0.75, 1)
    assert (line["step"], line["data_seconds"]) == (10, pytest.approx(0.75))
    assert line["step_seconds"] == pytest.approx((8 * 1 + 6) / 9)
    assert line["step_seconds_median"] == pytest.approx(1)
    assert line["step_seconds_max"] == pytest.approx(6)
    assert line["step_seconds_deviation"] > 1
    assert line["examples_per_second"] == pytest.approx(16 / line["step_seconds"])
    assert line["host_peak_bytes"] > 1e6
    spent = [line for line in writer.read(tmp_path) if line["split"] == goodput.SPLIT][-1]
    assert spent["data_seconds"] == pytest.approx(7.5)
    assert spent["step_seconds"] == pytest.approx(9 * 0.25 + 5.25)


def test_a_slow_step_is_told_once_a_lap(report, time):
    train(report, time, range(1, 12))
    train(report, time, [12, 13], seconds=30.0)
    train(report, time, range(14, 22))
    train(report, time, [22], seconds=60.0)
    messages = [event.message for event in report[2] if event.message]
    assert messages == [
        "step 12 took 30.0 s, 120 times the median",
        "step 22 took 1 min 00 s, 240 times the median",
    ]


def test_the_end_sums_up(report, time):
    train(report, time, range(1, 5), data_seconds=0.75)
    report[0].ended(4)
    assert report[2][-1].message == ("goodput 25.0% of 4.0 s: waiting for data 3.0 s, step 1.0 s")


def test_a_remark_is_told_once(report, time):
    reporter, _, events = report
    for step in (1, 2, 10, 20):  # of which 2 is not logged
        time[0] += SECONDS
        reporter.stepped(step, {"loss": 1.0, "odd": 1.0} | ({"even": 1.0} if step == 2 else {}))
    reporter.measured(20, "held_out", {"odd": 1.0, "held": 2.0})
    assert [event.message for event in events if event.message] == ["odd!", "held!"]
