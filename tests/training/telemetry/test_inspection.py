"""A profile holds exactly the steps that were asked for; the step's program is written whole."""

import contextlib
import gzip
import json
import re

import buckets
import pytest
import toy_task

from resgen_jax.core import errors
from resgen_jax.training import loop
from resgen_jax.training.telemetry import inspection, writer


def train(workdir, mesh, messages=None, num_steps=8, **inspect):
    loop.run(
        toy_task.ToyTask(num_steps=8),
        loop.Spec(num_steps=num_steps, log_every=3, checkpoint_every=4),
        mesh=mesh,
        iterator=toy_task.iterator(),
        workdir=workdir,
        seed=0,
        progress=lambda event: (messages if messages is not None else []).append(event.message),
        inspect=inspection.Spec(**inspect),
    )


def profiled(workdir):
    """The numbers of the steps in the only trace there is."""
    (path,) = (workdir / "profile").glob("plugins/profile/*/*.trace.json.gz")
    assert list(path.parent.glob("*.xplane.pb"))
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    return sorted(
        int(event["args"]["step_num"]) for event in events if event.get("name") == "train"
    )


def test_a_profile_holds_exactly_its_steps_and_changes_no_number(tmp_path, single):
    messages = []
    train(tmp_path / "plain", single)
    train(tmp_path / "seen", single, messages, profile_steps=inspection.steps("3:6"))
    assert profiled(tmp_path / "seen") == [3, 4, 5]
    assert any("profile of steps 3 to 5 in" in (message or "") for message in messages)
    plain, seen = (
        [line for line in writer.read(tmp_path / name) if line["split"] == "train"]
        for name in ("plain", "seen")
    )
    assert seen == plain
    spent = [line for line in writer.read(tmp_path / "seen") if line["split"] == "goodput"]
    assert spent[-1]["profile_seconds"] > 0


def test_steps_beyond_the_end_and_before_the_start_are_told(tmp_path, single):
    with pytest.raises(errors.UserError, match="begins at 9, but training ends at step 8"):
        train(tmp_path, single, profile_steps=range(9, 10))
    assert not (tmp_path / "checkpoints").exists()
    messages = []
    train(tmp_path, single, messages, num_steps=4, profile_steps=range(4, 9))
    assert profiled(tmp_path) == [4]
    assert "--profile_steps goes beyond the last step: steps 4 to 4 will be profiled" in messages
    messages.clear()
    train(tmp_path, single, messages, profile_steps=range(2, 4))
    assert "steps 2 to 3 cannot all be profiled: this start begins at step 5" in messages
    assert profiled(tmp_path) == [4]


@pytest.mark.parametrize("text", ["100", "5:5", "6:5", "0:3", "a:b", "-1:4", "1:2:3", "1.5:3", ""])
def test_ranges_that_make_no_sense_are_refused(text):
    with pytest.raises(errors.UserError, match=re.escape(f"--profile_steps is {text!r}; expected")):
        inspection.steps(text)


def test_the_program_of_a_step_is_written_in_every_form(tmp_path, single):
    messages = []
    train(tmp_path, single, messages, dumps_programs=True)
    folder = tmp_path / "programs"
    assert f"the program of a step is in {folder}" in messages
    assert "tanh" in (folder / "step.jaxpr.txt").read_text()
    assert "stablehlo.tanh" in (folder / "step.stablehlo.txt").read_text()
    assert (folder / "step.hlo.txt").read_text().startswith("HloModule jit_step")
    memory = json.loads((folder / "step.memory.json").read_text())
    assert memory["argument_size_in_bytes"] > 4 * toy_task.IN_DIM * toy_task.HIDDEN
    assert "peak_memory_in_bytes" in memory


def test_a_profile_in_a_bucket_is_copied_there_whole(monkeypatch):
    files = buckets.fake(monkeypatch)
    place, said = f"s3://{buckets.BUCKET}/run", []
    with inspection.Profiler(place, range(1, 3), 5, said.append) as profiler:
        profiler.begin(1)
        for step in (1, 2, 3):
            with profiler.step(step, lambda: None, lambda phase: contextlib.nullcontext()):
                pass
        assert len(said) == 1  # before the end
    found = files.glob(f"{buckets.BUCKET}/run/profile/plugins/profile/*/*")
    assert {path.partition(".")[2] for path in found} >= {"trace.json.gz", "xplane.pb"}
