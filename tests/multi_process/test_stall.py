"""A run of two real processes, one of which hangs: the files say which, where and in what."""

import pathlib

import processes
import pytest

from resgen_jax.training.telemetry import heartbeat

SCRIPT = pathlib.Path(processes.__file__).with_name("run_stall_process.py")


@pytest.mark.slow
def test_a_run_that_hangs_says_which_process_hangs_where(tmp_path):
    processes.succeed(SCRIPT, 2, lambda number, port: (number, 2, port, tmp_path))
    innocent, guilty = (
        (tmp_path / "stalls" / f"process_{number}.txt").read_text() for number in (0, 1)
    )
    assert "process 1 of 2: 'data' at step 5 has not moved for " in guilty
    assert "in guilty_reader" in guilty
    assert "process 0 of 2: 'step' at step " in innocent
    assert "it waits for its devices; if they exchange data with other processes" in innocent
    assert "guilty_reader" not in innocent
    for text in (innocent, guilty):
        assert "it went on after" in text
    assert len(list((tmp_path / "profile").rglob("*.xplane.pb"))) == 1  # the first process's
    for number in (0, 1):
        beat = heartbeat.read(tmp_path, number)
        assert (beat["process"], beat["step"], beat["phase"]) == (number, 8, heartbeat.DONE)
