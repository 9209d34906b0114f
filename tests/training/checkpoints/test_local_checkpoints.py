"""Laws of local checkpoints: used when newer and whole, never another run's, gone at the end."""

import errno
import os
import pathlib
import re
import sys
import threading
import time

import jax
import numpy as np
import pytest
import toy_task

from resgen_jax.core import errors
from resgen_jax.training import loop
from resgen_jax.training.checkpoints import local_checkpoints, restoring
from resgen_jax.training.telemetry import writer


class Killed(Exception):
    """Stands for what takes the process."""


def train(workdir, mesh, local="", killed_at=0, messages=None, progress=None, **changes):
    fields = {"num_steps": 20, "log_every": 1, "checkpoint_every": 10}
    if local:
        fields |= {"local_checkpoints": str(local), "local_checkpoint_every": 3}
    spec = loop.Spec(**(fields | changes))

    def told(event):
        if event.message and messages is not None:
            messages.append(event.message)
        if killed_at and event.step == killed_at:
            raise Killed

    return loop.run(
        toy_task.ToyTask(num_steps=20),
        spec,
        mesh=mesh,
        iterator=toy_task.iterator(),
        workdir=workdir,
        seed=0,
        progress=progress or told,
    )


def began(workdir):
    """The first step of each start."""
    return [
        line["step"]
        for line in writer.read(workdir)
        if line["split"] == "speed" and "compile_seconds" in line
    ]


def losses(workdir):
    return [line["loss"] for line in writer.read(workdir) if line["split"] == "train"]


def assert_equal(state, expected):
    jax.tree.map(np.testing.assert_array_equal, jax.device_get(state), jax.device_get(expected))


@pytest.fixture
def whole(tmp_path, single):
    return train(tmp_path / "whole", single), losses(tmp_path / "whole")


def test_a_newer_local_checkpoint_is_gone_on_from_and_removed_at_the_end(tmp_path, single, whole):
    run, local, messages = tmp_path / "run", tmp_path / "fast", []
    with pytest.raises(Killed):
        train(run, single, local, killed_at=17)
    assert restoring.steps(run) == [10]
    assert_equal(train(run, single, local, messages=messages), whole[0])
    assert began(run) == [1, 16]
    assert losses(run) == whole[1]
    assert messages[0] == "goes on from the local checkpoint of step 15"
    assert list(local.iterdir()) == []


def test_a_damaged_one_gives_way_to_the_one_that_stays(tmp_path, single, whole):
    run, local, messages = tmp_path / "run", tmp_path / "fast", []
    with pytest.raises(Killed):
        train(run, single, local, killed_at=17)
    for record in local.rglob("record/data.json"):
        record.write_text("{")
    assert_equal(train(run, single, local, messages=messages), whole[0])
    assert began(run) == [1, 11]
    assert losses(run) == whole[1]
    assert str(local) in messages[0]


def test_an_older_one_and_that_of_another_run_are_left_alone(tmp_path, single, whole):
    run, local = tmp_path / "run", tmp_path / "fast"
    with pytest.raises(Killed):  # saved at step 9 locally, at 10 for good
        train(run, single, local, killed_at=11)
    train(run, single, local, num_steps=11)
    assert began(run) == [1, 11]
    with pytest.raises(Killed):
        train(tmp_path / "again", single, local, killed_at=8)
    (tmp_path / "again").rename(tmp_path / "away")
    assert_equal(train(tmp_path / "again", single, local), whole[0])
    assert began(tmp_path / "again") == [1]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"local_checkpoints": "/dev/shm/x"}, "local_checkpoint_every 0; set both"),
        ({"local_checkpoint_every": 5}, "train.local_checkpoints is '' and"),
        (
            {"local_checkpoints": "gs://bucket/x", "local_checkpoint_every": 5},
            "a bucket; name a folder of this machine",
        ),
    ],
)
def test_half_a_wish_and_a_bucket_are_refused(tmp_path, single, changes, message):
    with pytest.raises(errors.UserError, match=re.escape(message)):
        train(tmp_path, single, **changes)


def test_a_place_that_cannot_be_written_is_refused(tmp_path, single):
    (pathlib.Path(tmp_path) / "file").write_text("")
    with pytest.raises(errors.UserError, match="cannot write in train.local_checkpoints="):
        train(tmp_path / "run", single, tmp_path / "file" / "fast")


def full(folder):
    """A disk on which no folder can be made while its `is_on` is True."""

    def refuse(event, arguments):
        if event == "os.mkdir" and str(arguments[0]).startswith(str(folder)) and refuse.is_on:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    refuse.is_on = False
    sys.addaudithook(refuse)
    return refuse


@pytest.mark.parametrize("full_from", [0, 7])
def test_a_full_disk_switches_local_ones_off_and_the_run_ends_as_without(
    tmp_path, single, whole, full_from
):
    """From the start, or from step 7 on, between the saves of steps 6 and 9."""
    local, messages = tmp_path / "fast", []
    disk = full(local)
    disk.is_on = full_from == 0

    def progress(event):
        disk.is_on |= event.step == full_from
        messages.extend(filter(None, [event.message]))

    try:
        state = train(tmp_path / "run", single, local, progress=progress)
    finally:
        disk.is_on = False
    assert_equal(state, whole[0])
    assert losses(tmp_path / "run") == whole[1]
    off = "local checkpoints are switched off until the next start: "
    said = [text for text in messages if "local checkpoints" in text]
    assert [text.startswith(off) and "No space left" in text for text in said] == [True]
    assert not local.exists() or list(local.iterdir()) == []
    # The process would wait for them at its end, for minutes.
    left = [thread for thread in threading.enumerate() if "Signaling" in type(thread).__name__]
    assert left == []


def test_what_was_saved_before_the_disk_was_full_is_gone_on_from(tmp_path, single, whole):
    run, local = tmp_path / "run", tmp_path / "fast"
    disk = full(local)

    def progress(event):
        deadline = time.monotonic() + 60
        while event.step == 5 and not any(local.glob("run-*/checkpoints/3")):
            assert time.monotonic() < deadline, "the third step was never saved"
            time.sleep(0.01)  # it is saved behind the training's back
        disk.is_on = event.step >= 5
        if event.step == 9:
            raise Killed

    with pytest.raises(Killed):
        train(run, single, local, progress=progress)
    disk.is_on = False
    assert_equal(train(run, single, local), whole[0])
    assert began(run) == [1, 4]


@pytest.mark.parametrize("content", ['{"id": "/../../x"}', '{"id": 7}', "[" * 10**5, "\udcff"])
def test_an_id_out_of_a_strangers_run_is_no_path(tmp_path, content):
    file = tmp_path / "run" / local_checkpoints.FILE
    file.parent.mkdir()
    file.write_text(content, errors="surrogateescape")
    place = local_checkpoints._folder(str(tmp_path / "fast"), file.parent)
    assert pathlib.Path(place).parent == tmp_path / "fast"
    assert local_checkpoints._folder(str(tmp_path / "fast"), file.parent) == place
