"""Evaluation in two real processes: each finds the figures of one."""

import json

import processes
import pytest
import run_collect_process


@pytest.mark.slow
def test_two_processes_find_the_figures_of_one(single):
    said = processes.succeed(
        run_collect_process.__file__, 2, lambda number, port: (number, 2, port)
    )
    expected = run_collect_process.figures(single)
    assert 0 < expected["recall-tiny"] < 1
    for text in said:
        assert json.loads(text.splitlines()[-1]) == pytest.approx(expected, rel=1e-6)
