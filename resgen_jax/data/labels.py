"""Labels as files write them: classes by number or by name."""

import numbers
import re
from typing import Any

from resgen_jax.core import errors

Label = int | str
WHOLE = re.compile(r"[+-]?[0-9]{1,18}(\.0*)?")
BETWEEN = re.compile(r"[+-]?[0-9]*\.[0-9]+")
LARGEST = 10**18
LONGEST_NAME = 1000  # characters; what is longer is a text of another kind


def of(value: Any, where: str) -> Label:
    """A class's number, or its name; numbers may be written as text, and whole ones with a point.

    Raises UserError, naming `where`, for what is neither, such as null, a list or 1.7.
    """
    if isinstance(value, str):
        value = value.strip()
        if WHOLE.fullmatch(value):
            return int(value.partition(".")[0])
        if 0 < len(value) <= LONGEST_NAME and not BETWEEN.fullmatch(value):
            return value
    elif _is_whole(value):
        return int(value)
    raise errors.UserError(
        f"{where} has the label {_shown(value)}; expected a class's number from 0, or its name"
    )


def _is_whole(value: Any) -> bool:
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_number and bool(abs(value) < LARGEST and value == int(value))


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    is_plain = isinstance(value, str | numbers.Real)  # what is within others may be very deep
    return repr(value)[:60] if is_plain else f"of type {type(value).__name__}"
