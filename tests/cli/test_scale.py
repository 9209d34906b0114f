"""Scale: counts come from shapes alone, and a bench reports times that fit together."""

import json
import re
import shlex

import pytest
from PIL import Image

from resgen_jax.cli import actions, scale, scale_flags
from resgen_jax.runs.configs import config_files


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


MNIST = "--config=generators/rq_transformer_mnist.py"
SPACE = "--space=2x2,3,8,4,3"


@pytest.mark.slow
def test_bench_tells_of_every_program_of_a_tokenizer(runs, tmp_path):
    output = tmp_path / "bench.json"
    config = f"--config={runs.tokenizer_config}"
    out = runs.succeed("scale", "bench", config, "--num_steps=3", f"--output={output}")
    found = json.loads(output.read_text())
    assert [row["program"] for row in found["programs"]] == [
        "train",
        "encode",
        "decode",
        "quantize",
    ]
    for row in found["programs"]:
        assert 0 < row["fastest"] <= row["seconds"] <= row["slowest"]
        assert 0 <= row["spread"] <= (row["slowest"] - row["fastest"]) / row["seconds"]
        assert row["per_second"] == pytest.approx(found["batch_size"] / row["seconds"])
        assert row["compile_seconds"] > 0
        assert row["repeats"] == 3
    assert found["dtype"] == "float32"
    assert "x cpu" in found["device"]
    assert 0 < found["tflops_per_device"] < 0.1
    assert "tflops" not in out  # it says nothing of a toy


@pytest.mark.slow
def test_bench_takes_several_generators_at_several_depths(place):
    output = place.folder / "bench.json"
    place.succeed(
        *("scale", "bench", "--config=generators/rq_transformer_mnist.py:tiny", SPACE),
        "--beside=generators/ar_resgen_mnist.py:tiny",
        *("--depths=1,2", "--programs=sample", "--num_steps=1", f"--output={output}"),
    )
    rows = json.loads(output.read_text())["programs"]
    names = ["generators/rq_transformer_mnist.py:tiny", "generators/ar_resgen_mnist.py:tiny"]
    expected = [(name, depth, "sample") for name in names for depth in (1, 2)]
    assert [(row["config"], row["depth"], row["program"]) for row in rows] == expected
    with Image.open(output.with_suffix(".png")) as picture:
        assert min(picture.size) > 300


def test_parameters_are_counted_for_codes_that_a_config_does_not_name(place):
    """Those of the docstrings, for equal parameters within 5 %."""
    counts = {}
    for name in ("rq_transformer", "ar_resgen", "level_by_level"):
        config = f"generators/{name}_cifar10.py"
        output = place.folder / f"{name}.json"
        place.succeed(
            *("scale", "count", f"--config={config}", "--space=4x4,8,512,32,10"),
            f"--output={output}",
        )
        counts[name] = json.loads(output.read_text())["parameters"]
        assert f"{counts[name]:,} parameters" in config_files.find(config).read_text()
    assert max(counts.values()) < 1.05 * min(counts.values())


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
        "count": {"config", "space"},
        "bench": {"config", "num_steps", "beside", "programs", "depths", "space"},
        "data": {"config", "num_steps", "step_seconds"},
        "sampler": {"num_steps", "head"},
        "compile": {"config", "topology", "program", "table"},
        "plan": {"config", "workdir", "chip", "mfu", "flops_per_second"},
        "run": {"config", "workdir", "only"},
        "fit": {"workdir", "law", "title"},
        "compare": {"config", "workdir", "only", "features", "weights", "judge"},
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
        (
            ("bench", MNIST, SPACE, "--programs=sampel"),
            "no program 'sampel'; did you mean 'sample'",
        ),
        (("bench", MNIST, "--depths=2"), "depths are those of a generator's codes"),
        (("count", MNIST, "--space=4x4,8"), "expected grid, depth, entries, channels and classes"),
        (("count", f"{MNIST}:tiny", "--config.data.codes=x", SPACE), "leave it out"),
        (("count", "--config=generators/resgen_digits.py"), "the sizes of the codes are not known"),
        (("count", "--table=x"), "unknown flag --table"),
        (("fit", "--config.base.seed=1"), "this verb reads the config of the run directory"),
        (("bench", "--num_steps=0"), "--num_steps is 0"),
    ],
)
def test_mistakes_are_told(place, arguments, message):
    code, _, err = place.resgen("scale", *arguments)
    assert code == 2
    assert message in err
