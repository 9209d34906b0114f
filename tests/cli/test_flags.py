"""Flags: config fields are taken out, and every mistake names what was meant."""

import pytest

from resgen_jax.cli import flags
from resgen_jax.core import errors


@pytest.fixture
def parser():
    parser = flags.Parser("train", "train a model", "resgen train")
    parser.add_argument("--config")
    parser.add_argument("--num_steps", type=int, default=8)
    parser.add_argument("--classes", type=flags.integers)
    flags.add_workdir(parser, "where")
    return parser


def test_config_fields_are_taken_out_in_order(parser):
    values, overrides = parser.parse(
        ["--config.a.b=3", "--config=x.py:tiny", "--config.c", "d=e", "--num_steps=2"]
    )
    assert (values.config, values.num_steps) == ("x.py:tiny", 2)
    assert overrides == [("a.b", "3"), ("c", "d=e")]


def test_dashes_in_a_flag_mean_underscores_but_stay_in_values(parser):
    values, _ = parser.parse(["--num-steps", "4", "--workdir=my-run/a-b", "--classes=0,3"])
    assert (values.num_steps, values.workdir, values.classes) == (4, "my-run/a-b", (0, 3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--workdr=x"], "unknown flag --workdr; did you mean --workdir?"),
        (["--confg.a.b=3"], "unknown flag --confg.a.b; did you mean --config.a.b?"),
        (["--num-step=3"], "unknown flag --num_step; did you mean --num_steps?"),
        (["--num_steps=many"], "--num_steps: invalid int value: 'many'"),
        (["--classes=0,x"], "invalid comma-separated integers value: '0,x'"),
        (["now"], "unexpected word 'now'"),
        (["--config.a.b"], "--config.a.b has no value"),
        (["--config.a.b", "--workdir=x"], "--config.a.b has no value"),
    ],
)
def test_mistakes_name_what_was_meant(parser, arguments, message):
    with pytest.raises(errors.UserError) as info:
        parser.parse(arguments)
    assert message in str(info.value)


def test_config_fields_are_refused_where_no_config_is_read():
    parser = flags.Parser("sample", "sample", "resgen sample")
    with pytest.raises(errors.UserError, match="config.a is set, but this verb reads the config"):
        parser.parse(["--config.a=1"])


def test_missing_flag_is_told_with_an_example(parser):
    values, _ = parser.parse([])
    with pytest.raises(errors.UserError, match=r"--workdir is missing: where.*--workdir=runs/a"):
        flags.require(values, "workdir", "where the run is", "runs/a")


def test_help_is_not_an_error(parser):
    assert parser.parse(["--num_steps=3", "--help"]) == (None, [])
    assert "example: resgen train" in parser.format_help()
