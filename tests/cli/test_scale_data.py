"""The data pipeline is measured on the real source, and held against the step."""

import json

import pytest

from resgen_jax.cli import scale_data


def row(num_threads, times_needed):
    return {"num_threads": num_threads, "times_needed": times_needed}


def measured(place, *arguments):
    output = place.folder / "data.json"
    place.succeed("scale", "data", *arguments, "--num_steps=3", f"--output={output}")
    return json.loads(output.read_text())


@pytest.mark.parametrize("kind", ["images", "codes"])
def test_rates_of_the_real_source_are_held_against_the_step(runs, tmp_path, kind):
    config = {
        "images": (f"--config={runs.tokenizer_config}",),
        "codes": (f"--config={runs.generator_config}", f"--config.data.codes={runs.codes}"),
    }[kind]
    found = measured(runs, *config, "--step_seconds=2", "--config.data.num_threads=3")
    assert found["needed_examples_per_second"] == 16 / 2
    threads = [one["num_threads"] for one in found["threads"]]
    assert {0, 1, 3} <= set(threads)
    for one in found["threads"]:
        assert one["examples_per_second"] == pytest.approx(
            16 / (one["batch_seconds"] + one["put_seconds"]), rel=1e-3
        )
        assert one["times_needed"] == pytest.approx(one["examples_per_second"] / 8)
    chosen = found["threads"][threads.index(3)]
    assert found["keeps_up"] == (chosen["times_needed"] >= 1)
    assert "data.num_threads=3" in found["verdict"]
    assert "1437" in found["source"] if kind == "images" else found["source"]


@pytest.mark.slow
def test_the_step_is_measured_on_noise_if_nothing_is_said(place):
    found = measured(place, f"--config={place.tokenizer_config}")
    assert found["step_seconds"] > 0
    assert found["needed_examples_per_second"] == pytest.approx(16 / found["step_seconds"])


def test_verdicts():
    assert scale_data.verdict(row(2, 3.2), row(4, 5.0)) == (
        "the pipeline keeps up: with data.num_threads=2 it gives 3.2 times what the step takes"
    )
    helped = scale_data.verdict(row(0, 0.4), row(8, 1.3))
    assert "does not keep up: with data.num_threads=0 it gives 0.4 times" in helped
    assert "data.num_threads=8 gives 1.3 times" in helped
    assert "at best 0.9 with data.num_threads=8" in scale_data.verdict(row(0, 0.4), row(8, 0.9))


def test_threads_that_are_tried():
    assert scale_data.thread_counts(0, 2) == [0, 1, 2, 4]
    assert scale_data.thread_counts(16, 8) == [0, 1, 2, 4, 8, 16]
    assert scale_data.thread_counts(5, 1) == [0, 1, 2, 5]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--step_seconds=0",), "--step_seconds is 0.0; expected more than 0"),
        (("--step_seconds=nan",), "--step_seconds is nan"),
        (("--config=generators/resgen_digits.py", "--step_seconds=1"), "data.codes is empty"),
        (("--step_seconds=1",), "--config is missing"),
    ],
)
def test_mistakes_are_told(place, arguments, message):
    code, _, err = place.resgen("scale", "data", *arguments)
    assert code == 2
    assert message in err
