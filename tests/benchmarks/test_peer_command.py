"""What every command beside PyTorch does with its flags, its figures and its user's mistakes."""

import json
import pathlib
import subprocess
import sys

import peer_command
import pytest

FIGURES = {"device": "cpu", "num_runs": 3, "ratio": 1.5}
COMMANDS = ("time_rvq", "time_encoder")


def run(arguments, packages=(), measure=lambda values: FIGURES):
    parser = peer_command.Parser("time_toy", "Time a toy.")
    parser.add_argument("--batch_size", type=int, default=64)
    return peer_command.run(parser, arguments, packages, measure)


def test_figures_are_printed_a_line_each_and_kept_as_json(tmp_path, capsys):
    output = tmp_path / "figures.json"
    assert run([f"--output={output}"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split() for line in lines] == [
        ["device:", "cpu"],
        ["num_runs:", "3"],
        ["ratio:", "1.5"],
    ]
    assert json.loads(output.read_text()) == FIGURES


@pytest.mark.parametrize(
    ("arguments", "packages", "message"),
    [
        (["--num_steps=0"], (), "--num_steps is 0; expected 1 or more"),
        (["--batch_size=-1"], (), "--batch_size is -1; expected 1 or more"),
        (["--num_steps=x"], (), "invalid int value: 'x'"),
        (["--num_step=3"], (), "--num_step=3; see `python tests/benchmarks/time_toy.py --help`"),
        (["--output=/dev/null/x"], (), "/dev/null"),
        ([], ("json", "no_such_package"), "needs no_such_package, which is not installed"),
    ],
)
def test_mistakes_are_told_in_a_line_before_anything_runs(arguments, packages, message, capsys):
    assert run(arguments, packages, measure=None) == 2
    captured = capsys.readouterr()
    assert message in captured.err
    assert captured.err.startswith("python tests/benchmarks/time_toy.py: ")
    assert captured.err.count("\n") == 1
    assert captured.out == ""


def test_faults_of_an_installed_peer_are_not_taken_for_a_missing_one(monkeypatch, tmp_path):
    (tmp_path / "broken_peer.py").write_text("raise ImportError('no libcuda.so')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ImportError, match=r"libcuda\.so"):
        run([], ("broken_peer",))


@pytest.mark.parametrize("name", COMMANDS)
def test_commands_run_from_any_folder(name, tmp_path):
    script = pathlib.Path(peer_command.__file__).with_name(f"{name}.py")
    done = subprocess.run(
        [sys.executable, str(script), "--num_steps=0"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
    )
    expected = f"python tests/benchmarks/{name}.py: --num_steps is 0; expected 1 or more\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", expected)
