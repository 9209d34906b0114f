"""Evaluation in two real processes: each finds the figures of one."""

import json
import pathlib
import socket
import subprocess
import sys

import pytest
import run_collect_process

SCRIPT = pathlib.Path(run_collect_process.__file__)
DEADLINE = 240  # seconds


@pytest.mark.slow
def test_two_processes_find_the_figures_of_one(single):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, *map(str, (number, 2, port))],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for number in range(2)
    ]
    try:
        said = [process.communicate(timeout=DEADLINE) for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.wait()
    assert all(process.returncode == 0 for process in processes), said
    expected = run_collect_process.figures(single)
    assert 0 < expected["recall-tiny"] < 1
    for text, _ in said:
        assert json.loads(text.splitlines()[-1]) == pytest.approx(expected, rel=1e-6)
