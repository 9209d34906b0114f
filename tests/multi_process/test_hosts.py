"""Processes of the real command line that do not fit together, and those that launchers start."""

import json
import os
import pathlib

import processes
import pytest
import toy_task

from resgen_jax.cli import run_directory
from resgen_jax.training import writer

SCRIPT = pathlib.Path(toy_task.__file__).with_name("run_hosts.py")
TINY = (
    "train",
    "--config=tokenizers/rq_vae_digits.py:tiny",
    "--config.train.num_steps=3",
    "--config.train.log_every=1",
)


def refused(ended):
    """What each process said; all were refused, in one line."""
    for process in ended:
        assert process.code == 2, ended
        assert len(process.err.splitlines()) == 1, ended
        assert process.err.startswith("resgen train: ")
    return [process.err for process in ended]


@pytest.mark.slow
def test_processes_that_never_come_are_named():
    port = processes.free_port()
    where = [f"--distributed=127.0.0.1:{port},4,{number}" for number in (0, 2)]
    started = [
        processes.start(SCRIPT, 1, *TINY, "--workdir=never", "--join_timeout=15", each)
        for each in where
    ]
    for said in refused(processes.wait(started)):
        assert "processes 1, 3 of 4 did not come" in said


@pytest.mark.slow
@pytest.mark.parametrize(
    ("field", "values"),
    [("seed", ("0", "7")), ("optimizer.learning_rate", ("0.5", "0.25"))],
)
def test_another_config_is_refused_by_all_with_the_field(tmp_path, field, values):
    ended = processes.together(
        SCRIPT,
        2,
        lambda number, port: (
            1,
            *TINY,
            f"--workdir={tmp_path / 'run'}",
            f"--config.{field}={values[number]}",
            f"--distributed=127.0.0.1:{port},2,{number}",
        ),
    )
    said = refused(ended)
    assert said[0] == said[1]
    for number in (0, 1):
        assert f"{values[number]!r} in process {number} (" in said[0]
    assert f"config.{field} is " in said[0]
    assert not (tmp_path / "run").exists()


@pytest.mark.slow
def test_a_config_file_that_differs_is_refused_with_the_resolved_field(tmp_path):
    text = pathlib.Path("configs/tokenizers/rq_vae_digits.py").read_text()
    said = start_in_folders(
        tmp_path,
        lambda number: (
            "--config=mine.py:tiny",
            "--workdir=run",
            f"--config.data.path={tmp_path}",
        ),
        files={
            "mine.py": (text, text.replace("config.seed = 0", "config.seed = 3")),
        },
    )
    assert "seed is 0 in process 0" in said[0]
    assert "and 3 in process 1" in said[0]


@pytest.mark.slow
def test_a_work_directory_that_is_not_shared_is_refused_by_all(tmp_path):
    said = start_in_folders(tmp_path, lambda number: (*TINY[1:], "--workdir=run"), files={})
    assert "--workdir=run is not shared: process 1 (" in said[0]
    assert "cannot see what process 0 (" in said[0]
    for folder in ("0", "1"):
        assert list((tmp_path / folder / "run").iterdir()) == []


@pytest.mark.slow
def test_a_work_directory_that_one_cannot_write_is_refused_by_all(tmp_path):
    said = start_in_folders(
        tmp_path, lambda number: (*TINY[1:], "--workdir=run"), {"run": ("", None)}
    )
    assert "cannot write in --workdir=run from process 0 (" in said[0]


def start_in_folders(tmp_path, arguments, files):
    """What two processes say that stand in folders of their own, as on disks of two hosts."""
    port, started, here = processes.free_port(), [], os.getcwd()
    try:
        for number in (0, 1):
            folder = tmp_path / str(number)
            folder.mkdir()
            for name, texts in files.items():
                if texts[number] is not None:
                    (folder / name).write_text(texts[number])
            os.chdir(folder)
            where = f"--distributed=127.0.0.1:{port},2,{number}"
            started.append(processes.start(SCRIPT, 1, "train", *arguments(number), where))
    finally:
        os.chdir(here)
    said = refused(processes.wait(started))
    assert said[0] == said[1]
    return said


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["slurm", "open_mpi_4", "open_mpi_5"])
def test_processes_of_a_launcher_join_by_themselves_and_train(tmp_path, launcher):
    port = processes.free_port()

    def variables(number):
        if launcher == "slurm":
            return {
                "SLURM_JOB_ID": "41",
                "SLURM_STEP_NODELIST": "localhost",
                "SLURM_NTASKS": "2",
                "SLURM_STEP_NUM_TASKS": "2",
                "SLURM_PROCID": str(number),
                "SLURM_LOCALID": str(number),
            }
        sizes = {
            "OMPI_COMM_WORLD_SIZE": "2",
            "OMPI_COMM_WORLD_RANK": str(number),
            "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
            "OMPI_COMM_WORLD_LOCAL_RANK": str(number),
        }
        if launcher == "open_mpi_4":
            return sizes | {"OMPI_MCA_orte_hnp_uri": "4096.0;tcp://127.0.0.1:34911"}
        return sizes | {"PMIX_NAMESPACE": "prterun-localhost-4101@1"}

    started = [
        processes.start(
            SCRIPT,
            1,
            *TINY,
            f"--workdir={tmp_path}",
            env={"JAX_COORDINATOR_PORT": str(port)} | variables(number),
        )
        for number in (0, 1)
    ]
    ended = processes.wait(started)
    assert [process.code for process in ended] == [0, 0], ended
    assert "2 processes on 1 host, 1 device each (cpu): mesh data 2, fsdp 1" in ended[0].err
    assert "done: 3 steps" in ended[0].out
    # Only the first writes: to the screen, and each line once.
    assert [line for line in ended[1].out.splitlines() if "[Gloo]" not in line] == []
    assert "tokenizer" not in ended[1].err
    steps = [line["step"] for line in writer.read(tmp_path) if line["split"] == "train"]
    assert steps == [1, 2, 3]
    assert json.loads((tmp_path / run_directory.FILE).read_text())["task"] == "rq_vae"
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".resgen")]
