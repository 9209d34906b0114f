"""Scale: counts come from shapes alone, and a bench reports times that fit together."""

import json
import re
import shlex

import pytest

from resgen_jax.cli import actions, scale, scale_flags


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
        out = runs.succeed(
            "scale", "bench", f"--config={config}", *fields, "--num_steps=2", f"--output={output}"
        )
        found = json.loads(output.read_text())
        assert 0 < found["tflops_per_device"] < 0.1
        assert "tflops" not in out  # it says nothing of a toy
        assert found["examples_per_second"] == pytest.approx(16 / found["step_seconds"])
        assert found["compile_seconds"] > 0
    assert found["samples_per_second"] == pytest.approx(16 / found["sampling_seconds"])


def test_help_is_one_page_an_action_with_its_own_flags_alone(place):
    out = place.succeed("scale", "--help")
    assert "resgen scale ACTION" in out
    flags = {}
    for name, action in scale_flags.ACTIONS.items():
        assert action.purpose in out
        page = place.succeed("scale", name, "--help")
        assert page.startswith(f"usage: resgen scale {name} ")
        assert f"example: {action.example}" in page
        flags[name] = set(re.findall(r"^  --(\w+)", page, re.M)) - {
            *("help", "distributed", "join_timeout", "output")
        }
    assert flags == {
        "count": {"config"},
        "bench": {"config", "num_steps"},
        "data": {"config", "num_steps", "step_seconds"},
        "rvq": {"num_steps"},
        "encoder": {"num_steps", "batch_size"},
        "sampler": {"num_steps"},
        "compile": {"config", "topology", "program", "table"},
        "plan": {"config", "workdir", "chip", "mfu", "flops_per_second"},
        "run": {"config", "workdir", "only"},
        "fit": {"workdir", "law", "title"},
    }


def test_every_action_with_a_page_of_help_does_something():
    assert list(scale.ACTIONS) == list(scale_flags.ACTIONS)


def test_examples_of_the_actions_are_valid_commands():
    for name, action in scale_flags.ACTIONS.items():
        words = shlex.split(action.example)[2:]
        parser, left = actions.parser_of("scale", scale_flags.ACTIONS, words)
        values, _ = parser.parse(left)
        assert values.action == name
        assert shlex.split(values.command) == shlex.split(action.example)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("bnch",), "unknown action 'bnch'; did you mean 'bench'"),
        ((), "the action is missing"),
        (("bench",), "--config is missing"),
        (("count", "--config=generators/resgen_digits.py"), "the sizes of the codes are not known"),
        (("count", "--table=x"), "unknown flag --table"),
        (("fit", "--config.base.seed=1"), "this verb reads the config of the run directory"),
        (("bench", "--num_steps=0"), "--num_steps is 0"),
        (("encoder", "--batch_size=0"), "--batch_size is 0"),
    ],
)
def test_mistakes_are_told(place, arguments, message):
    code, _, err = place.resgen("scale", *arguments)
    assert code == 2
    assert message in err
