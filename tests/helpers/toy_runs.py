"""The toy task trained in this process, and what is left of the run."""

import json
import os
import pathlib
import signal

import jax
import numpy as np
import pytest
import toy_task

from resgen_jax.training import loop, programs
from resgen_jax.training.checkpoints import restoring
from resgen_jax.training.telemetry import writer

SPEC = {"num_steps": 20, "log_every": 3, "evaluate_every": 8, "checkpoint_every": 6}


def train(
    workdir,
    mesh,
    task=None,
    iterator=None,
    progress=lambda event: None,
    held_out=toy_task.held_out,
    evaluators=(),
    begin=programs.initial_state,
    **changes,
):
    spec = loop.Spec(**(SPEC | changes))
    return loop.run(
        task or toy_task.ToyTask(num_steps=spec.num_steps),
        spec,
        mesh=mesh,
        iterator=iterator or toy_task.iterator(),
        held_out=held_out,
        workdir=workdir,
        seed=0,
        progress=progress,
        evaluators=evaluators,
        begin=begin,
    )


def lines(workdir, *splits):
    """The metrics that a repeated run has to give again, as they are written."""
    text = (pathlib.Path(workdir) / writer.FILE).read_text().splitlines()
    return [line for line in text if json.loads(line)["split"] in (splits or ("train", "held_out"))]


def assert_equal(state, expected):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(expected))


def steps_saved(workdir):
    names = os.listdir(pathlib.Path(workdir) / restoring.FOLDER)
    return sorted(int(name) for name in names if name.isdigit())


def at_step(step, act):
    """A progress callback that acts once, when `step` is reported."""
    done = []

    def progress(event):
        if event.step == step and not done:
            done.append(step)
            act()

    return progress


def interrupt():
    signal.raise_signal(signal.SIGINT)


@pytest.fixture
def uninterrupted(tmp_path, single):
    """The folder and the state of a run that nothing disturbed."""
    return tmp_path / "uninterrupted", train(tmp_path / "uninterrupted", single)
