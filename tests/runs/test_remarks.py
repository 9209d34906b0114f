"""Remarks on held-out figures: which levels they name, and when they are said."""

import json

from resgen_jax.runs import remarks
from resgen_jax.training.telemetry import writer


def test_depths_that_add_little_are_named_with_what_they_add_in_all():
    (text,) = remarks.of_depths([19.11, 20.84, 21.6, 22.0, 22.05, 22.1, 22.14, 22.18])
    assert text.startswith("depths 5 to 8 add less than 0.1 dB of held-out PSNR each")
    assert "from depth 4 on 0.18 dB in all" in text
    (text,) = remarks.of_depths([19.0, 20.0, 20.01, 21.0])
    assert text.startswith("depth 3 adds less than 0.1 dB of held-out PSNR:")
    assert remarks.of_depths([19.0, 20.0, 21.0]) == []


def test_levels_that_cost_more_than_a_guess_are_named():
    (text,) = remarks.of_nats([2.0, 4.3, 4.0, 9.36], 64)
    assert text.startswith("levels 1 and 3 (0 = coarse) cost up to 9.36 nats")
    assert "ln 64 = 4.16" in text
    assert remarks.of_nats([2.0, 4.1], 64) == []


def test_a_held_out_curve_that_rises_is_told_with_its_least_point():
    (text,) = remarks.of_curve([(500, 3.6), (1000, 3.1), (1500, 3.0), (2000, 3.25)])
    assert "least at step 1,000 (3)" not in text
    assert text.startswith("the held-out loss was least at step 1,500 (3) and rose to 3.25 at step")
    for falling in (
        [(500, 3.6), (1000, 3.1), (1500, 3.0)],
        [(500, 3.6), (1000, 3.0), (1500, 3.02)],  # noise: less than 5 % of the fall
        [(500, 3.0), (1000, 3.2)],  # too few to say
        [],
    ):
        assert remarks.of_curve(falling) == []
    # From the first measurement on.
    (text,) = remarks.of_curve([(500, 3.0), (1000, 3.2), (1500, 3.4)])
    assert "least at step 500" in text


def test_nats_of_a_run_are_those_of_its_last_measurement(tmp_path):
    with writer.Writer(tmp_path) as out:
        for step in (1, 2):
            out.write(
                step,
                "held_out",
                {"code_nll/level_0": 2.0 + step, "code_nll/level_1": 3.0, "code_nll/mean": 1.0},
            )
            out.write(step, "train", {"code_nll/level_0": 9.0})
    assert remarks.nats_of_run(tmp_path) == [4.0, 3.0]
    assert remarks.nats_of_run(tmp_path / "none") == []


def test_they_are_said_again_only_of_other_levels():
    said = []
    remark = remarks.Remarks(64, said.append)
    remark({"loss": 1.0})
    assert not said
    latest = {"held_out/psnr/depth_1": 20.0, "held_out/psnr/depth_2": 20.05}
    for loss in (1.0, 0.9):  # steps between two measurements
        remark({"loss": loss, **latest})
    assert len(said) == 1
    remark({**latest, "held_out/psnr/depth_2": 20.04})
    assert len(said) == 1
    remark({**latest, "held_out/psnr/depth_2": 20.5})
    remark({"loss": 0.8})
    assert len(said) == 1
    remark({**latest, "held_out/psnr/depth_2": 20.5, "held_out/psnr/depth_3": 20.51})
    assert said[1].startswith("depth 3 adds")


def test_a_run_is_judged_by_its_last_held_out_line(tmp_path):
    lines = [
        {"step": 1, "split": "held_out", "code_nll/level_0": 9.0},
        {"step": 2, "split": "train", "loss": 9.0},
        {"step": 2, "split": "held_out", "code_nll/level_0": 1.0, "code_nll/level_1": 5.0},
    ]
    (tmp_path / writer.FILE).write_text("".join(json.dumps(line) + "\n" for line in lines))
    (text,) = remarks.of_run(tmp_path, 64)
    assert text.startswith("level 1 (0 = coarse) costs up to 5.00 nats")
