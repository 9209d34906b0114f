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
