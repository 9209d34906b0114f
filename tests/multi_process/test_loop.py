"""The loop in two real processes: one run, one metrics file, one step to stop at."""

import pathlib
import socket
import subprocess
import sys

import numpy as np
import pytest
import toy_task

from resgen_jax.training import loop, writer

SCRIPT = pathlib.Path(toy_task.__file__).with_name("run_toy_process.py")
DEADLINE = 240  # seconds; SIGTERM does not end a hung process under jax.distributed, kill does


def run_processes(workdir, *, fsdp, terminate_at=0):
    """Two processes of one device each; what each says last."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    processes = [
        subprocess.Popen(
            [sys.executable, SCRIPT, *map(str, (number, 2, port, workdir, fsdp, terminate_at))],
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
    return [text.splitlines()[-1] for text, _ in said]


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
        name: [line for line in writer.read(tmp_path / name) if line["split"] != "speed"]
        for name in ("one", "two")
    }
    assert len(lines["one"]) == len(lines["two"]) == 23
    for got, want in zip(lines["two"], lines["one"], strict=True):
        assert (got["step"], got["split"]) == (want["step"], want["split"])
        name = "loss" if got["split"] == "train" else "error"
        np.testing.assert_allclose(got[name], want[name], rtol=2e-5)
