"""The loop in two real processes: one run, one metrics file, one step to stop at."""

import pathlib

import numpy as np
import processes
import pytest
import toy_task

from resgen_jax.training import loop, writer

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
        iterator=toy_task.iterator(),
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
