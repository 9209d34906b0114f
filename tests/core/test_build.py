"""Laws of building specs from configs: lossless, or refused with a hint."""

import dataclasses
import re

import pytest

from resgen_jax.core import build, errors


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = 0.5
    name: str = "a"


@dataclasses.dataclass(frozen=True)
class Outer:
    num_steps: int
    is_on: bool = False
    grid: tuple[int, int] = (8, 8)
    widths: tuple[int, ...] = ()
    limit: int | None = None
    inner: Inner = dataclasses.field(default_factory=Inner)


def test_nested_fields_are_filled():
    config = {"num_steps": 3, "inner": {"rate": 1}, "grid": [4, 2], "widths": [1, 2, 3]}
    spec = build.build(Outer, config)
    assert spec == Outer(3, grid=(4, 2), widths=(1, 2, 3), inner=Inner(rate=1.0))
    assert isinstance(spec.inner.rate, float)
    assert build.build(Outer, {"num_steps": 3, "limit": 5}).limit == 5
    assert build.build(Outer, {"num_steps": 3, "limit": None}).limit is None
    assert build.build(Outer, {"num_steps": 1, "inner": Inner(name="b")}).inner.name == "b"


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"num_step": 3}, "train has no field 'num_step'; did you mean 'num_steps'?"),
        (
            {"num_steps": 3, "inner": {"rte": 1}},
            "train.inner has no field 'rte'; did you mean 'rate'?",
        ),
        ({"num_steps": 3, "zzz": 1}, "known: grid, inner, is_on, limit, num_steps, widths"),
        ({}, "train lacks the field 'num_steps'"),
        ({"num_steps": 3.5}, "train.num_steps is 3.5 (float); expected int"),
        ({"num_steps": True}, "train.num_steps is True (bool); expected int"),
        ({"num_steps": "3"}, "train.num_steps is '3' (str); expected int"),
        ({"num_steps": 3, "is_on": 1}, "train.is_on is 1 (int); expected bool"),
        ({"num_steps": 3, "inner": {"rate": "x"}}, "train.inner.rate is 'x' (str); expected float"),
        ({"num_steps": 3, "grid": [1]}, "train.grid is [1] (list); expected tuple[int, int]"),
        ({"num_steps": 3, "widths": [1, "a"]}, "train.widths[1] is 'a' (str); expected int"),
        ({"num_steps": 3, "limit": "no"}, "train.limit is 'no' (str); expected int"),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(config, message):
    with pytest.raises(errors.UserError, match=re.escape(message)) as failure:
        build.build(Outer, config, "train")
    assert "\n" not in str(failure.value)


@dataclasses.dataclass(frozen=True)
class Bounded:
    width: int = 1
    scale: float = 1.0
    steps: tuple[int, ...] = ()

    def __post_init__(self):
        build.check_sizes(self, ("width",))


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"width": 0}, "model.trunk: width is 0; expected at least 1"),
        ({"width": 10**12}, "model.trunk: width is 1000000000000; expected at most 16777216"),
        ({"width": 10**5000}, "model.trunk: Exceeds the limit"),
        ({"scale": float("nan")}, "model.trunk.scale is nan; expected a finite number"),
        ({"scale": -float("inf")}, "model.trunk.scale is -inf; expected a finite number"),
        ({"scale": 10**400}, "expected a finite number of 32 bits"),
        ({"steps": (1, 2**40)}, "model.trunk.steps[1] is 1099511627776; expected -2147483648 to"),
        ({"scale": "x" * 1000}, "xxx... (str); expected float"),
    ],
)
def test_numbers_that_nothing_can_have_are_refused_in_a_short_line(config, message):
    with pytest.raises(errors.UserError, match=re.escape(message)) as failure:
        build.build(Bounded, config, "model.trunk")
    assert len(str(failure.value)) < 250
    assert build.build(Bounded, {"steps": (2**32 - 1, -(2**31))}).steps == (2**32 - 1, -(2**31))


def test_a_change_is_checked_as_a_config_is():
    before = Bounded(width=8, scale=2.0)
    assert build.change(before, {"steps": [1, 2]}) == Bounded(width=8, scale=2.0, steps=(1, 2))
    assert before.steps == ()
    for wrong, message in (({"steps": 3}, "sampler.steps is 3"), ({"step": 3}, "no field 'step'")):
        with pytest.raises(errors.UserError, match=message):
            build.change(before, wrong, "sampler")
