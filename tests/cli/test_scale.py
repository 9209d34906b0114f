"""Scale: counts come from shapes alone, and a bench reports times that fit together."""

import json

import pytest


def test_published_size_is_counted_without_building_it(place):
    out = place.succeed(
        "scale",
        "count",
        "--config=generators/resgen_imagenet256.py:depth16,576m",
        f"--output={place.folder / 'count.json'}",
    )
    found = json.loads((place.folder / "count.json").read_text())
    parts = [value for name, value in found.items() if name.startswith("parameters/")]
    assert sum(parts) == found["parameters"]
    # The auxiliary code head is no part of the published count.
    assert found["parameters"] - found["parameters/codes"] == pytest.approx(576e6, rel=2e-3)
    assert f"{found['parameters']:,}" in out


@pytest.mark.slow
def test_bench_reports_times_that_fit_together(runs, tmp_path):
    for config, fields in (
        (runs.tokenizer_config, ()),
        (runs.generator_config, (f"--config.data.codes={runs.codes}",)),
    ):
        output = tmp_path / "bench.json"
        runs.succeed(
            "scale", "bench", f"--config={config}", *fields, "--num_steps=2", f"--output={output}"
        )
        found = json.loads(output.read_text())
        assert found["examples_per_second"] == pytest.approx(16 / found["step_seconds"])
        assert found["compile_seconds"] > 0
    assert found["samples_per_second"] == pytest.approx(16 / found["sampling_seconds"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bnch",), "unknown action 'bnch'; did you mean 'bench'"),
        ((), "the action is missing"),
        (("bench",), "--config is missing"),
        (("count", "--config=generators/resgen_digits.py"), "the sizes of the codes are not known"),
        (("bench", "--num_steps=0"), "--num_steps is 0"),
        (("encoder", "--batch_size=0"), "--batch_size is 0"),
    ],
)
def test_mistakes_are_told(place, arguments, message):
    code, _, err = place.resgen("scale", *arguments)
    assert code == 2
    assert message in err
