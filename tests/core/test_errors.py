"""What a user's mistake looks like on a terminal."""

import pytest

from resgen_jax.core import errors


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a\x1b]0;owned\x07\x1b[2Jy", r"a\x1b]0;owned\x07\x1b[2Jy"),
        ("a\rb\tc\x9bd", r"a\rb\tc\x9bd"),
        ("\u202egnp.exe \udcff", r"\u202egnp.exe \udcff"),
        ("Zoë's 猫.png, 24.1 dB", "Zoë's 猫.png, 24.1 dB"),
    ],
)
def test_what_a_terminal_would_act_on_is_escaped(text, expected):
    assert errors.shown(text) == expected
    assert str(errors.UserError(text)) == expected


def test_a_mistake_is_told_in_one_line_of_bounded_length():
    assert errors.shown("one\ntwo") == "one\ntwo"
    assert str(errors.UserError("one\ntwo")) == r"one\ntwo"
    text = str(errors.UserError(f"{'x' * 10**6}; write it again"))
    assert len(text) < errors.LONGEST_LINE + 10
    assert text.endswith("x; write it again")


def test_reasons_of_other_libraries_are_short():
    assert errors.reason(ValueError("one\n  two")) == "one two"
    assert errors.reason(EOFError()) == "EOFError"
    assert len(errors.reason(ValueError("x" * 10**6))) == errors.LONGEST_REASON


def test_a_name_with_a_line_end_stays_on_its_line():
    assert errors.line("skipped: a\nresgen train: done\x07.png") == (
        r"skipped: a\nresgen train: done\x07.png"
    )
