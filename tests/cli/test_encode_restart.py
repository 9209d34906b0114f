"""Encode, killed and started again, or in several processes: the files are those of one run."""

import pathlib
import signal
import time

import processes
import pytest
import toy_task

from resgen_jax.data import codes

SCRIPT = pathlib.Path(toy_task.__file__).with_name("run_encode.py")


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def arguments(runs, output):
    return (
        f"--workdir={runs.tokenizer}",
        f"--output={output}",
        "--records_per_shard=150",
        "--batch_size=40",
    )


@pytest.fixture
def undisturbed(runs):
    """The codes of one run that nothing disturbed."""
    output = runs.folder / "undisturbed"
    if not output.exists():
        runs.succeed("encode", *arguments(runs, output))
    return files(output)


def journal(output):
    folder = output.with_name(f".{output.name}.unfinished") / "journal"
    return sorted(folder.glob("codes_*.json"))


def test_killed_run_goes_on_and_repeats_nothing(runs, undisturbed, tmp_path):
    output = tmp_path / "codes"
    process = processes.start(SCRIPT, 0.004, *arguments(runs, output))
    try:
        deadline = time.monotonic() + processes.DEADLINE
        while len(journal(output)) < 4:
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    finally:
        process.kill()
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    done = {path.stem: path.parents[1] / path.stem for path in journal(output)}
    assert 4 <= len(done) < 10 + 3
    assert not output.exists()
    before = {name: path.stat().st_mtime_ns for name, path in done.items()}
    code, _, err = runs.resgen("encode", *arguments(runs, output))
    assert code == 0, err
    assert f"{len(done)} of 13 shards were written before" in err
    assert {name: (output / name).stat().st_mtime_ns for name in done} == before
    assert files(output) == undisturbed
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]
    assert len(codes.read(output).train) == 1437


@pytest.mark.slow
def test_processes_share_the_shards_and_write_the_same_files(runs, undisturbed, tmp_path):
    output = tmp_path / "codes"
    said = processes.succeed(
        SCRIPT,
        3,
        lambda number, port: (
            0,
            *arguments(runs, output),
            f"--distributed=127.0.0.1:{port},3,{number}",
        ),
    )
    assert files(output) == undisturbed
    assert "1437 to train on, 360 held out" in said[0]
    assert "codes:" not in said[1]
