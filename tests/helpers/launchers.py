"""Runs the scripts of launch/ as a user does, with stand-ins for the programs that they call."""

import os
import pathlib
import subprocess
from collections.abc import Sequence

ROOT = pathlib.Path(__file__).parents[2]
LAUNCH = ROOT / "launch"
DEADLINE = 60  # seconds
TRAIN = ("train", "--config=tokenizers/rq_vae_digits.py:tiny", "--workdir=/shared/run")
TPU = ("--name=pod", "--zone=us-west4-a")
MAKE = ("--type=v5litepod-256", "--runtime=v2-alpha-tpuv5-lite")
GKE = (
    "--name=run",
    "--image=registry/resgen",
    "--accelerator=tpu-v5-lite-podslice",
    "--topology=16x16",
)
# What is enough for each script to know what to run.
GIVEN = {
    "local.sh": TRAIN,
    "tpu_pod.sh": (*TPU, *TRAIN),
    "gke.sh": (*GKE, *TRAIN),
    "slurm.sbatch": TRAIN,
}


def environment(**more: str | os.PathLike) -> dict[str, str]:
    """That of the tests, without what would make a script think that it is a Slurm job."""
    kept = {name: text for name, text in os.environ.items() if not name.startswith("SLURM_")}
    return kept | {name: os.fspath(value) for name, value in more.items()}


def launch(
    script: str, *arguments: str, **more: str | os.PathLike
) -> subprocess.CompletedProcess[str]:
    """The ended script; `more` are variables of its environment."""
    return subprocess.run(
        ["bash", LAUNCH / script, *arguments],
        capture_output=True,
        text=True,
        env=environment(**more),
        stdin=subprocess.DEVNULL,
        timeout=DEADLINE,
    )


def assert_refused(done: subprocess.CompletedProcess[str], *words: str) -> None:
    """Exit code 2, nothing printed, one line of complaint with the words in it."""
    assert done.returncode == 2, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    for word in ("launch/", *words):
        assert word in done.stderr


def stand_in(path: pathlib.Path, lines: Sequence[str]) -> pathlib.Path:
    """An executable script with the lines."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/usr/bin/env bash", *lines, ""]))
    path.chmod(0o755)
    return path


def path_with(folder: pathlib.Path) -> str:
    """A PATH on which the programs in the folder come first."""
    return f"{folder}{os.pathsep}{os.environ['PATH']}"
