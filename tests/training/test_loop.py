"""Laws of the loop: it goes on exactly, stops cleanly, and never saves a bad state."""

import dataclasses
import json
import re
import time

import jax
import numpy as np
import pytest
import toy_task
from toy_runs import assert_equal, at_step, interrupt, lines, steps_saved, train

from resgen_jax.core import errors
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import loop, placement
from resgen_jax.training.checkpoints import restoring
from resgen_jax.training.telemetry import writer


def test_a_damaged_checkpoint_is_named_and_made_up_for(tmp_path, single, uninterrupted):
    with pytest.raises(loop.Stopped):
        train(tmp_path, single, progress=at_step(13, interrupt))
    newest = steps_saved(tmp_path)[-1]
    (tmp_path / restoring.FOLDER / str(newest) / "record" / "data.json").write_text("{")
    messages = []
    state = train(tmp_path, single, progress=lambda event: messages.append(event.message))
    assert str(newest) in next(filter(None, messages))
    assert_equal(state, uninterrupted[1])
    assert lines(tmp_path) == lines(uninterrupted[0])


def test_a_finished_run_does_nothing_more(uninterrupted, single):
    workdir, expected = uninterrupted
    before = lines(workdir, "train", "speed", "held_out")
    assert_equal(train(workdir, single), expected)
    assert lines(workdir, "train", "speed", "held_out") == before


def test_a_longer_run_goes_on(tmp_path, single, uninterrupted):
    """A constant learning rate makes the first steps of a long run those of a short one."""
    task = toy_task.ToyTask(spec=toy_task.optimizers.Spec(decay="constant"))
    train(tmp_path / "two", single, task, num_steps=6)
    state = train(tmp_path / "two", single, task, num_steps=12)
    assert_equal(state, train(tmp_path / "one", single, task, num_steps=12))


def test_a_finished_run_that_warms_up_anew_is_one_that_was_begun_so(
    tmp_path, single, uninterrupted
):
    workdir, _ = uninterrupted
    spec = dataclasses.replace(toy_task.ToyTask().spec, rewarm_at=(20,))
    task = toy_task.ToyTask(num_steps=26, spec=spec)
    state = train(workdir, single, task, num_steps=26)
    assert_equal(state, train(tmp_path / "one", single, task, num_steps=26))


def test_metrics_are_those_of_a_hand_written_loop(uninterrupted, single):
    workdir, _ = uninterrupted
    task = toy_task.ToyTask(num_steps=20)
    root = jax.random.key(0)
    state = jax.jit(task.init)(loop.keys.named_keys(root, "init")["init"])
    step, data, expected = jax.jit(task.step), toy_task.iterator(), {}
    for number in range(20):
        batch = jax.tree.map(jax.numpy.asarray, next(data))
        state, metrics = step(state, batch, jax.random.fold_in(root, number))
        expected[number + 1] = metrics
    logged = {line["step"]: line for line in writer.read(workdir) if line["split"] == "train"}
    assert list(logged) == [1, 3, 6, 9, 12, 15, 18, 20]
    for number, line in logged.items():
        for name, value in expected[number].items():
            np.testing.assert_allclose(line[name], value, rtol=1e-6, err_msg=name)


def test_held_out_metrics_count_every_row_once(uninterrupted):
    workdir, state = uninterrupted
    params = jax.device_get(state.average_params)
    rows = toy_task.rows(24, seed=1)
    x, y = (np.stack([row[name] for row in rows]) for name in "xy")
    hidden = np.tanh(x @ params["up"]["kernel"])
    guess = hidden @ params["down"]["kernel"] + params["down"]["bias"]
    last = [line for line in writer.read(workdir) if line["split"] == "held_out"][-1]
    np.testing.assert_allclose(last["error"], np.mean((guess - y) ** 2), rtol=1e-5)
    assert last["num_examples"] == 24
    assert last["step"] == 20


def test_as_many_held_out_batches_are_asked_for_as_the_spec_says(tmp_path, single):
    asked = []

    def held_out(num_batches):
        asked.append(num_batches)
        return toy_task.held_out(num_batches)

    train(tmp_path, single, held_out=held_out, num_steps=2, num_held_out_batches=1)
    assert asked == [1]
    (line,) = (line for line in writer.read(tmp_path) if line["split"] == "held_out")
    assert line["num_examples"] == 16


def test_a_bad_loss_names_step_records_and_checkpoint_and_is_not_saved(tmp_path, single):
    bad_step, bad_rows = next(
        (number, rows["index"])
        for number, rows in enumerate(toy_task.iterator(), start=1)
        if number > 3 and 5 in rows["index"]
    )
    task = toy_task.ToyTask(poison_index=5)
    # The first epoch meets the bad row too: leave it out there, as a poison of later steps.
    clean = toy_task.ToyTask()
    task.step = lambda state, batch, key: jax.tree.map(
        lambda bad, good: jax.numpy.where(state.step + 1 >= bad_step, bad, good),
        toy_task.ToyTask.step(task, state, batch, key),
        clean.step(state, batch, key),
    )
    with pytest.raises(loop.LossNotFinite) as failure:
        train(tmp_path, single, task, checkpoint_every=1)
    message = str(failure.value)
    assert f"loss is nan at step {bad_step}," in message
    assert ", ".join(str(row) for row in bad_rows) in message
    assert str(tmp_path / restoring.FOLDER / str(bad_step - 1)) in message
    assert "\n" not in message
    assert steps_saved(tmp_path)[-1] == bad_step - 1
    wanted = {"params": placement.abstract_state(single, clean).params}
    kernel = restoring.restore_fields(tmp_path, wanted)[1]["params"]["up"]["kernel"]
    assert np.all(np.isfinite(kernel))


def test_a_step_is_read_while_the_next_one_runs(tmp_path, single):
    class Counting:
        drawn = 0

        def __init__(self):
            self.inner = toy_task.iterator()

        def __next__(self):
            self.drawn += 1
            return next(self.inner)

        def get_state(self):
            return self.inner.get_state()

        def set_state(self, state):
            self.inner.set_state(state)

    counting, ahead = Counting(), {}
    train(
        tmp_path,
        single,
        iterator=counting,
        progress=lambda event: ahead.setdefault(event.step, counting.drawn - event.step),
        evaluate_every=0,
    )
    assert set(ahead) == set(range(1, 21))
    at_boundary = {6, 12, 18, 20}
    assert all(ahead[step] == (0 if step in at_boundary else 1) for step in ahead)


def test_a_run_goes_on_on_another_mesh(tmp_path, uninterrupted):
    with pytest.raises(loop.Stopped):
        train(tmp_path, meshes.make(meshes.Spec(2, 2, 2)), progress=at_step(10, interrupt))
    train(tmp_path, meshes.make(meshes.Spec(8, 1, 1)))
    for got, want in zip(lines(tmp_path), lines(uninterrupted[0]), strict=True):
        got, want = json.loads(got), json.loads(want)
        assert got["split"] == want["split"]
        name = "loss" if got["split"] == "train" else "error"
        np.testing.assert_allclose(got[name], want[name], rtol=2e-5)


def test_evaluators_and_speed_are_logged(tmp_path, single):
    events = []
    loop.run(
        toy_task.ToyTask(num_steps=8),
        loop.Spec(num_steps=8, log_every=4, evaluate_every=4),
        mesh=single,
        iterator=toy_task.iterator(),
        workdir=tmp_path,
        seed=0,
        progress=events.append,
        evaluators=[lambda state, step: {"twice": 2.0 * step + float(state.step) * 0}],
    )
    written = writer.read(tmp_path)
    assert [(x["step"], x["twice"]) for x in written if x["split"] == "evaluation"] == [
        (4, 8.0),
        (8, 16.0),
    ]
    speed = [line for line in written if line["split"] == "speed"]
    assert speed[0]["compile_seconds"] > 0
    assert all(
        line["model_flops_per_second"]
        == pytest.approx(
            toy_task.ToyTask().flops_per_example() * line["examples_per_second"], rel=1e-6
        )
        for line in speed[1:]
    )
    assert events[-1].metrics["evaluation/twice"] == 16.0
    assert events[-1].num_steps == 8


def test_the_wait_for_data_is_measured_where_it_is(tmp_path, single):
    class Late:
        inner = toy_task.iterator()

        def __next__(self):
            time.sleep(0.02)
            return next(self.inner)

        def get_state(self):
            return self.inner.get_state()

    train(tmp_path, single, iterator=Late(), num_steps=12)
    found = writer.read(tmp_path)
    waits = [line["data_seconds"] for line in found if "step_seconds_max" in line]
    assert len(waits) == 5
    assert min(waits) >= 0.02


def test_another_seed_or_batch_that_does_not_fit_is_refused(tmp_path, single):
    train(tmp_path, single, num_steps=2)
    with pytest.raises(errors.UserError, match="seed 0, this run has 1"):
        loop.run(
            toy_task.ToyTask(),
            loop.Spec(num_steps=4),
            mesh=single,
            iterator=toy_task.iterator(),
            workdir=tmp_path,
            seed=1,
        )
    with pytest.raises(errors.UserError, match=r"batch_size 12.*use 8 or 16"):
        train(tmp_path / "new", meshes.make(meshes.Spec()), iterator=toy_task.iterator(12))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"num_steps": 0}, "train.num_steps is 0; expected 1 or more"),
        ({"log_every": 0}, "train.log_every is 0"),
        ({"checkpoint_every": -1}, "train.checkpoint_every is -1; expected 0 or more"),
        ({"keep_last": 0}, "train.keep_last is 0"),
    ],
)
def test_counts_that_make_no_sense_are_refused(tmp_path, single, change, message):
    with pytest.raises(errors.UserError, match=re.escape(message)):
        train(tmp_path, single, toy_task.ToyTask(), **change)
