"""What processes have to have in common, and how a difference is told."""

import pytest

from resgen_jax.core import errors
from resgen_jax.runtime import agreement

NAMES = ["process 0 (a)", "process 1 (b)", "process 2 (c)", "process 3 (d)", "process 4 (e)"]


def facts(**changed):
    """Those of five processes, of which some differ: field -> {process: value}."""
    same = {"seed": 0, "model.width": 64, "data.path": "/data"}
    return [
        same | {field: values[number] for field, values in changed.items() if number in values}
        for number in range(5)
    ]


def test_the_same_facts_are_agreed_on():
    agreement.check(facts(), NAMES, "")
    assert agreement.differences(facts(), NAMES) == []
    agreement.check(facts()[:1], NAMES[:1], "")


def test_a_difference_names_field_values_and_processes():
    with pytest.raises(errors.UserError) as refused:
        agreement.check(facts(seed={3: 7}), NAMES, "Give all the same.")
    assert str(refused.value) == (
        "the processes do not agree: seed is 0 in process 0 (a), process 1 (b) and 2 more and 7 in "
        "process 3 (d). Give all the same."
    )


def test_values_of_another_type_and_missing_ones_differ():
    (said,) = agreement.differences([{"seed": 1}, {"seed": 1.0}, {"seed": True}, {}], NAMES[:4])
    assert said == (
        "seed is 1 in process 0 (a), 1.0 in process 1 (b), True in process 2 (c) and not set in "
        "process 3 (d)"
    )
    assert agreement.differences([{"a": None}, {}], NAMES[:2]) == [
        "a is None in process 0 (a) and not set in process 1 (b)"
    ]
    assert agreement.differences([{"a": [1]}, {"a": [1]}], NAMES[:2]) == []


def test_many_and_long_differences_are_cut():
    with pytest.raises(errors.UserError, match="; and 3 more") as refused:
        agreement.check([{}, {f"field{n}": "x" * 500 for n in range(8)}], NAMES[:2], "")
    assert len(str(refused.value)) < 1000


def test_clocks_that_differ_are_told_with_their_hosts():
    assert agreement.clock_warning([100.0, 104.9, 101.0], NAMES[:3]) is None
    said = agreement.clock_warning([100.0, 162.2, 90.0], NAMES[:3])
    assert "process 1 (b) is 72 s ahead of that of process 2 (c)" in said
