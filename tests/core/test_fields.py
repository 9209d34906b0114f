"""Meanings of fields: comments behind a field, above it, or both; docstrings are something else."""

import dataclasses

from resgen_jax.core import fields


@dataclasses.dataclass(frozen=True)
class Example:
    """What the tests read. And a second sentence.

    # no comment
    """

    behind: int  # said behind: "#"
    # Said above,
    # in two lines.
    above: str = "# no comment"
    # Half of it here,
    both: tuple[int, ...] = (  # and half
        1,
    )  # behind the end
    none: bool = False

    def method(self):
        """Its variables are no fields."""
        inner: int = 0  # no meaning
        return inner


def test_comments_become_meanings():
    assert fields.meanings(Example) == {
        "behind": 'said behind: "#"',
        "above": "Said above, in two lines",
        "both": "Half of it here, behind the end",
        "none": "",
    }
    assert fields.summary(Example) == "What the tests read. And a second sentence"


def test_a_class_without_source_has_no_meanings():
    made = dataclasses.make_dataclass("Made", ["field"])
    made.__module__ = "nowhere"
    assert fields.meanings(made) == {}
