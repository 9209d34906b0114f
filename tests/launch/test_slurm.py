"""launch/slurm.sbatch: one process for each GPU, and back into the queue after a stop alone."""

import shlex

import launchers
import pytest


def directives():
    """The flags of sbatch in the file."""
    lines = (launchers.LAUNCH / "slurm.sbatch").read_text().splitlines()
    words = [line.removeprefix("#SBATCH ") for line in lines if line.startswith("#SBATCH")]
    # sbatch reads no further than the first command.
    first = next(number for number, line in enumerate(lines) if line and line[0] != "#")
    assert not any(line.startswith("#SBATCH") for line in lines[first:])
    return dict(word.removeprefix("--").partition("=")[::2] for word in words)


def submit(tmp_path, code, state="RUNNING", **more):
    """The ended job and what it said to Slurm; its processes end with the code, in the state."""
    program = launchers.stand_in(tmp_path / "resgen", [])
    launchers.stand_in(
        tmp_path / "bin" / "srun", [f'printf "%s\\n" "$@" >{tmp_path}/srun', f"exit {code}"]
    )
    launchers.stand_in(tmp_path / "bin" / "squeue", [f"echo {state}"])
    launchers.stand_in(tmp_path / "bin" / "scontrol", [f"echo $* >>{tmp_path}/scontrol"])
    # Slurm runs a copy, and says where the user stood.
    copy = tmp_path / "spool" / "slurm_script"
    copy.parent.mkdir()
    copy.write_text((launchers.LAUNCH / "slurm.sbatch").read_text())
    settings = {
        "PATH": launchers.path_with(tmp_path / "bin"),
        "RESGEN": program,
        "SLURM_JOB_ID": "41",
        "SLURM_SUBMIT_DIR": launchers.ROOT,
    }
    done = launchers.launch(copy, *launchers.TRAIN, **(settings | more))
    said = tmp_path / "scontrol"
    return done, said.read_text() if said.exists() else ""


def test_one_process_for_each_gpu():
    given = directives()
    assert given["ntasks-per-node"] == given["gpus-per-node"]


def test_a_job_gets_time_to_save_and_may_be_queued_again():
    given = directives()
    name, _, seconds = given["signal"].partition("@")
    assert name == "TERM"  # to the processes; B: would send it to the shell alone
    assert int(seconds) >= 120
    assert "requeue" in given
    assert given["open-mode"] == "append"


def test_the_printed_command():
    printed = launchers.launch("slurm.sbatch", "--print", *launchers.TRAIN).stdout
    words = shlex.split(printed)
    assert words[0] == "srun"
    assert words[-len(launchers.TRAIN) - 1 :] == [*launchers.TRAIN, "--distributed"]
    # Killed at once when the first one ends, the others would hide that they have saved.
    assert "--kill-on-bad-exit=0" in words


@pytest.mark.parametrize(("code", "said"), [(0, ""), (1, ""), (2, ""), (3, "requeue 41\n")])
def test_only_a_stopped_run_goes_back_into_the_queue(tmp_path, code, said):
    done, to_slurm = submit(tmp_path, code)
    assert done.returncode == code, done.stderr
    assert to_slurm == said
    command = (tmp_path / "srun").read_text().splitlines()
    assert command[-len(launchers.TRAIN) - 1 :] == [*launchers.TRAIN, "--distributed"]


def test_a_cancelled_job_stays_out_of_the_queue(tmp_path):
    done, to_slurm = submit(tmp_path, 3, state="COMPLETING")
    assert done.returncode == 3
    assert "COMPLETING" in done.stderr
    assert to_slurm == ""


def test_every_process_sees_the_gpus_of_its_node(tmp_path):
    gpus = {"SLURM_GPUS_ON_NODE": "4", "SLURM_NTASKS_PER_NODE": "4"}
    done, _ = submit(tmp_path, 0, **gpus)
    assert done.returncode == 0, done.stderr
    assert "--gpu-bind=none" in (tmp_path / "srun").read_text().splitlines()


def test_another_number_of_processes_than_gpus_is_refused(tmp_path):
    done, _ = submit(tmp_path, 0, SLURM_GPUS_ON_NODE="4", SLURM_NTASKS_PER_NODE="1")
    launchers.assert_refused(done, "--ntasks-per-node=4")
    assert not (tmp_path / "srun").exists()


def test_a_job_from_another_folder_or_without_a_program_is_refused(tmp_path):
    done, _ = submit(tmp_path / "a", 0, SLURM_SUBMIT_DIR=tmp_path)
    launchers.assert_refused(done, str(tmp_path))
    done, _ = submit(tmp_path / "b", 0, RESGEN=tmp_path / "nowhere")
    launchers.assert_refused(done, "nowhere")


def test_outside_slurm_it_says_how_to_run_it():
    launchers.assert_refused(launchers.launch("slurm.sbatch", *launchers.TRAIN), "sbatch")
