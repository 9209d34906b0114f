"""The loop in real processes: one run, one metrics file, one step to stop at, however many."""

import itertools
import json
import pathlib

import numpy as np
import processes
import pytest
import toy_task

from resgen_jax.data import pipeline
from resgen_jax.training import loop
from resgen_jax.training.telemetry import writer

SCRIPT = pathlib.Path(toy_task.__file__).with_name("run_toy_process.py")


def run_processes(workdir, *, fsdp, terminate_at=0):
    """Two processes of one device each; what each says last."""
    said = processes.succeed(
        SCRIPT, 2, lambda number, port: (number, 2, port, workdir, fsdp, terminate_at)
    )
    return [text.splitlines()[-1] for text in said]


@pytest.mark.slow
def test_two_processes_stop_together_and_go_on_as_one_device(tmp_path, single):
    together = tmp_path / "two"
    stopped = run_processes(together, fsdp=2, terminate_at=9)
    assert stopped[0] == stopped[1]
    assert stopped[0].startswith("stopped ")
    assert run_processes(together, fsdp=1) == ["finished 20", "finished 20"]

    loop.run(
        toy_task.ToyTask(num_steps=20),
        loop.Spec(num_steps=20, log_every=1, evaluate_every=8, checkpoint_every=6),
        mesh=single,
        iterator=pipeline.train_iterator(toy_task.rows(), batch_size=16, seed=0),
        held_out=toy_task.held_out,
        workdir=tmp_path / "one",
        seed=0,
    )
    lines = {
        name: [
            line for line in writer.read(tmp_path / name) if line["split"] in ("train", "held_out")
        ]
        for name in ("one", "two")
    }
    assert len(lines["one"]) == len(lines["two"]) == 23
    for got, want in zip(lines["two"], lines["one"], strict=True):
        assert (got["step"], got["split"]) == (want["step"], want["split"])
        name = "loss" if got["split"] == "train" else "error"
        np.testing.assert_allclose(got[name], want[name], rtol=2e-5)


@pytest.mark.slow
def test_one_two_four_and_one_process_make_one_run(tmp_path, single):
    """Each part ends and is gone on with by another number of processes, on another mesh."""
    workdir, seen = tmp_path / "run", []
    for until, count, fsdp in ((5, 1, 1), (10, 2, 2), (15, 4, 2), (20, 1, 1)):
        said = processes.succeed(
            SCRIPT,
            count,
            lambda number, port: (number, count, port, workdir, fsdp, 0, until),  # noqa: B023
        )
        assert [text.splitlines()[-1] for text in said] == [f"finished {until}"] * count
        files = [workdir / f"seen-{until}-{number}" for number in range(count)]
        parts = [[json.loads(line) for line in file.read_text().splitlines()] for file in files]
        seen += [list(itertools.chain(*step)) for step in zip(*parts, strict=True)]

    data = pipeline.train_iterator(toy_task.rows(), batch_size=16, seed=0)
    expected = [batch["index"].tolist() for batch in itertools.islice(data, 20)]
    assert [sorted(batch) for batch in seen] == [sorted(batch) for batch in expected]
    assert sorted(itertools.chain(*seen[:6])) == list(range(96))  # an epoch, each once

    loop.run(
        toy_task.ToyTask(num_steps=20),
        loop.Spec(num_steps=20, log_every=1),
        mesh=single,
        iterator=pipeline.train_iterator(toy_task.rows(), batch_size=16, seed=0),
        workdir=tmp_path / "whole",
        seed=0,
    )
    losses = [
        [line["loss"] for line in writer.read(tmp_path / name) if line["split"] == "train"]
        for name in ("run", "whole")
    ]
    assert len(losses[0]) == 20
    np.testing.assert_allclose(*losses, rtol=1e-5)


@pytest.mark.slow
def test_a_notice_to_one_of_two_in_an_evaluation_stops_both_there(tmp_path):
    workdir = tmp_path / "two"
    stopped = run_processes(workdir, fsdp=2, terminate_at=-1)
    assert stopped == ["stopped 8", "stopped 8"]  # where the first evaluation is
    assert not any(line["split"] == "held_out" for line in writer.read(workdir))
