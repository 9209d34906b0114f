"""Processes of the real command line that do not fit together, and those that launchers start."""

import json
import os
import pathlib

import image_files
import processes
import pytest
import toy_task

from resgen_jax.runs import run_directory
from resgen_jax.training.telemetry import writer

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


def in_folders(tmp_path, *arguments):
    """Two processes that stand in folders of their own, as on two hosts; how they ended."""
    port, started, here = processes.free_port(), [], os.getcwd()
    try:
        for number in (0, 1):
            folder = tmp_path / str(number)
            folder.mkdir(exist_ok=True)
            os.chdir(folder)
            where = f"--distributed=127.0.0.1:{port},2,{number}"
            started.append(processes.start(SCRIPT, 1, *arguments, where))
    finally:
        os.chdir(here)
    return processes.wait(started)


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
    for number, seed in enumerate((0, 3)):
        (tmp_path / str(number)).mkdir()
        end = "    return config\n"
        changed = text.replace(end, f"    config.seed = {seed}\n{end}")
        (tmp_path / str(number) / "mine.py").write_text(changed)
    ended = in_folders(tmp_path, "train", "--config=mine.py:tiny", "--workdir=run")
    said = refused(ended)
    assert said[0] == said[1]
    assert "seed is 0 in process 0 (" in said[0]
    assert "and 3 in process 1 (" in said[0]


@pytest.mark.slow
def test_a_work_directory_that_is_not_shared_is_refused_by_all(tmp_path):
    said = refused(in_folders(tmp_path, *TINY, "--workdir=run"))
    assert said[0] == said[1]
    assert "--workdir=run is not shared: process 1 (" in said[0]
    assert "cannot see what process 0 (" in said[0]
    for folder in ("0", "1"):
        assert list((tmp_path / folder / "run").iterdir()) == []


@pytest.mark.slow
def test_a_work_directory_that_one_cannot_write_is_refused_by_all(tmp_path):
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "run").write_text("no folder")
    said = refused(in_folders(tmp_path, *TINY, "--workdir=run"))
    assert said[0] == said[1]
    assert "cannot write in --workdir=run from process 0 (" in said[0]


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


@pytest.mark.slow
def test_processes_that_share_the_rows_of_an_axis_train_as_one(tmp_path):
    """The axis tensor lies over both: they read the same rows."""
    settings = (*TINY, "--config.mesh.data=1", "--config.mesh.tensor=2")
    processes.succeed(
        SCRIPT,
        2,
        lambda number, port: (
            1,
            *settings,
            f"--workdir={tmp_path / 'two'}",
            f"--distributed=127.0.0.1:{port},2,{number}",
        ),
    )
    (alone,) = processes.wait([processes.start(SCRIPT, 1, *TINY, f"--workdir={tmp_path / 'one'}")])
    assert alone.code == 0, alone
    assert "processes" not in alone.err
    found, expected = (
        [line["loss"] for line in writer.read(tmp_path / name) if line["split"] == "train"]
        for name in ("two", "one")
    )
    assert found == pytest.approx(expected, rel=1e-5)


@pytest.mark.slow
def test_a_run_that_one_process_does_not_see_is_refused_by_all(tmp_path):
    (tmp_path / "0" / "run").mkdir(parents=True)
    (tmp_path / "0" / "run" / run_directory.FILE).write_text("{}")
    for process in in_folders(tmp_path, "reconstruct", "--workdir=run"):
        assert process.code == 2
        assert "--workdir=run is 'a run' in process 0 (" in process.err
        assert "and 'no run' in process 1 (" in process.err


@pytest.mark.slow
def test_data_that_one_process_does_not_see_stop_all(tmp_path):
    image_files.make_folder(tmp_path / "0" / "images")
    path = "/proc/self/cwd/images"  # each process's own
    words = ("train", "--config=tokenizers/rq_vae_folder.py:tiny", f"--config.data.path={path}")
    waiting, blind = refused(in_folders(tmp_path, *words, f"--workdir={tmp_path / 'run'}"))
    assert waiting.startswith("resgen train: process 1 (")
    assert path in waiting
    assert waiting.endswith(blind.removeprefix("resgen train: "))
