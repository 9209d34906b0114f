"""Rules: every array used once, every parameter filled, and all mistakes named at once."""

import jax
import ml_dtypes
import numpy as np
import pytest

from resgen_jax.convert import rules
from resgen_jax.core import errors

RULES = [
    *rules.conv("stem", "conv"),
    *rules.dense("fc", "out"),
    *rules.norm("bn", "norm"),
    rules.Rule("table", ("copy.0", "copy.1"), rules.equal),
]
SHAPES = {
    "conv": {"kernel": (3, 5, 2, 4), "bias": (4,)},
    "out": {"kernel": (4, 6), "bias": jax.ShapeDtypeStruct((6,), np.float32)},
    "norm": {"scale": (4,), "bias": (4,)},
    "table": (7, 2),
}


@pytest.fixture
def arrays():
    generator = np.random.default_rng(0)
    table = generator.normal(size=(7, 2)).astype(np.float32)
    shapes = {
        "stem.weight": (4, 2, 3, 5),
        "stem.bias": (4,),
        "fc.weight": (6, 4),
        "fc.bias": (6,),
        "bn.weight": (4,),
        "bn.bias": (4,),
    }
    drawn = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    return drawn | {"copy.0": table, "copy.1": table.copy()}


def apply(arrays, table=RULES, ignored=()):
    return rules.apply(table, arrays, SHAPES, where="x.pth is no Toy", ignored=ignored)


def test_every_number_arrives_at_its_place(arrays):
    params = apply(arrays)
    assert params["conv"]["kernel"][2, 4, 1, 3] == np.float32(arrays["stem.weight"][3, 1, 2, 4])
    assert params["out"]["kernel"][1, 5] == np.float32(arrays["fc.weight"][5, 1])
    np.testing.assert_array_equal(params["norm"]["scale"], arrays["bn.weight"].astype(np.float32))
    np.testing.assert_array_equal(params["table"], arrays["copy.0"])
    assert {leaf.dtype for leaf in jax.tree.leaves(params)} == {np.dtype(np.float32)}


def test_narrow_floats_are_widened_and_integers_are_not_taken_for_them(arrays):
    arrays["fc.bias"] = np.arange(6).astype(ml_dtypes.bfloat16)
    np.testing.assert_array_equal(apply(arrays)["out"]["bias"], np.arange(6, dtype=np.float32))
    arrays["fc.bias"] = np.arange(6)
    with pytest.raises(errors.UserError, match="of another type: out/bias is int64"):
        apply(arrays)


def test_all_mistakes_are_named_in_one_line(arrays):
    del arrays["bn.bias"]
    arrays["extra"] = np.zeros(1)
    arrays["fc.weight"] = np.zeros((6, 5))
    arrays["stem.weight"] = np.zeros((4, 2))
    arrays["copy.1"] = arrays["copy.1"] + 1
    with pytest.raises(errors.UserError) as caught:
        apply(arrays, [rule for rule in RULES if rule.target != "norm/scale"])
    message = str(caught.value)
    assert message.startswith("x.pth is no Toy: ")
    for part in (
        "missing: bn.bias",
        "not used: bn.weight, extra",
        "not filled: norm/scale",
        "fc.weight as out/kernel is (5, 6), expected (4, 6)",
        "stem.weight (has 2 dimensions, expected 4)",
        "copies 0 and 1 of what should be one array differ",
    ):
        assert part in message
    assert "\n" not in message


def test_of_arrays_that_should_be_alike_the_odd_one_is_named(arrays):
    arrays["copy.1"] = np.zeros((3, 2))
    with pytest.raises(errors.UserError, match=r"copy.1 \(3, 2\) beside copy.0 \(7, 2\)$"):
        apply(arrays)


def test_only_one_is_dropped_in_front():
    np.testing.assert_array_equal(rules.only(np.ones((1, 3))), np.ones(3))
    for wrong in (np.ones((2, 3)), np.ones(())):
        with pytest.raises(ValueError, match="expected 1 in front"):
            rules.only(wrong)


def test_an_array_or_a_parameter_named_twice_is_a_mistake(arrays):
    twice = [*RULES, rules.copy("fc.bias", "norm/scale"), rules.copy("new", "nowhere")]
    with pytest.raises(errors.UserError) as caught:
        apply(arrays, twice)
    for part in ("used twice: fc.bias", "filled twice: norm/scale", "unknown here: nowhere"):
        assert part in str(caught.value)


def test_only_whole_names_are_ignored(arrays):
    arrays |= {"loss.a": np.zeros(1), "not_loss.a": np.zeros(1)}
    with pytest.raises(errors.UserError, match="not used: not_loss.a$"):
        apply(arrays, ignored=(r"loss\..*",))


def test_a_long_list_is_cut_and_counted(arrays):
    arrays |= {f"extra.{index}": np.zeros(1) for index in range(30)}
    with pytest.raises(errors.UserError, match="and 18 more$"):
        apply(arrays)


@pytest.mark.parametrize("broken", [np.nan, np.inf, -np.inf])
def test_arrays_that_are_not_finite_are_named_and_counted(arrays, broken):
    arrays["fc.bias"] = np.array([0, broken, 1, broken, 2, 3], ml_dtypes.bfloat16)
    arrays["copy.0"][0, 0] = arrays["copy.1"][0, 0] = broken
    with pytest.raises(errors.UserError) as caught:
        apply(arrays)
    assert str(caught.value) == (
        "x.pth is no Toy: not finite (download the file again, or take an earlier checkpoint): "
        "copy.0 (1 of 14 numbers), copy.1 (1 of 14 numbers), fc.bias (2 of 6 numbers)"
    )


def test_numbers_that_float32_cannot_hold_are_not_finite(arrays):
    arrays["stem.bias"] = np.array([1e39, 0, 1, 2])
    with pytest.raises(errors.UserError, match=r"stem.bias \(1 of 4 numbers\)$"):
        apply(arrays)


def test_a_rule_may_take_what_is_not_finite(arrays):
    arrays["copy.0"][0, 0] = arrays["copy.1"][0, 0] = np.inf
    table = [rule._replace(must_be_finite=rule.target != "table") for rule in RULES]
    assert apply(arrays, table)["table"][0, 0] == np.inf
