"""From a config's mapping to a frozen dataclass, refusing what it does not know."""

import dataclasses
import difflib
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Any, TypeVar, cast

from resgen_jax.core import errors

T = TypeVar("T")  # a dataclass
# What arrays, counters and random keys of 32 bits hold.
INTEGERS = (-(2**31), 2**32 - 1)
LARGEST_FLOAT = 3.4e38
LARGEST_SIZE = 2**24  # of one side of an array: more is a slip of the pen


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the known word closest to `name`, or lists them all."""
    known = sorted(known)
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]!r}?" if close else f"known: {', '.join(known)}"


def words(text: str, known: Iterable[str]) -> frozenset[str]:
    """The comma-separated words of a config's argument; UserError for one that is not known."""
    known = frozenset(known)
    given = frozenset(word for word in text.split(",") if word)
    for word in sorted(given - known):
        raise errors.UserError(f"the config takes no word {word!r}; {nearest(word, known)}")
    return given


def build(cls: type[T], config: Any, where: str = "") -> T:
    """Fill the dataclass `cls` from the mapping `config`, nested dataclasses in turn.

    `where` is the path of `config` within the whole config, for messages.
    Raises UserError for an unknown field (naming the nearest), a missing one, a wrong type, and a
    number that is not finite or needs more than 32 bits.
    """
    where = where or cls.__name__
    check_fields(config, where, cls.__name__)
    fields = {field.name: field for field in dataclasses.fields(cast(Any, cls))}
    for name in config:
        if name not in fields:
            raise errors.UserError(f"{where} has no field {name!r}; {nearest(str(name), fields)}")
    for name, field in fields.items():
        has_default = (
            field.default is not dataclasses.MISSING
            or field.default_factory is not dataclasses.MISSING
        )
        if name not in config and not has_default:
            raise errors.UserError(f"{where} lacks the field {name!r}, which has no default")
    hints = typing.get_type_hints(cls)
    values = {
        name: _convert(value, hints[name], f"{where}.{name}") for name, value in config.items()
    }
    try:
        made = cls(**values)
    except ValueError as failure:  # another one, too, where a number has thousands of digits
        if isinstance(failure, errors.UserError) and f"{where}." in str(failure):
            raise
        raise errors.UserError(f"{where}: {failure}") from failure
    for name, value in values.items():
        _check_integers(value, f"{where}.{name}")
    return made


def change(spec: T, changes: Mapping[str, Any], where: str = "") -> T:
    """The dataclass `spec` with other values of some fields, checked as those of a config are."""
    return build(type(spec), dataclasses.asdict(cast(Any, spec)) | dict(changes), where)


def check_sizes(spec: Any, names: Iterable[str], least: int = 1, most: int = LARGEST_SIZE) -> None:
    """Raises UserError unless these fields of a dataclass are from `least` to `most`."""
    for name in names:
        value = getattr(spec, name)
        if not least <= value <= most:
            low = f"at least {least}" if least else "0 or more"
            bound = low if value < least else f"at most {most}"
            raise errors.UserError(f"{name} is {value}; expected {bound}")


def check_known(spec: Any, known: Mapping[str, Iterable[str]], where: str = "") -> None:
    """Raises UserError for a field whose value is none of its known ones, naming the nearest."""
    for name, names in known.items():
        value = getattr(spec, name)
        if value not in names:
            raise errors.UserError(f"{where}{name} is {value!r}; {nearest(value, names)}")


def numbers(value: Any) -> tuple:
    """The numbers of a field that holds one, or some in a tuple."""
    return value if isinstance(value, tuple) else (value,)


def check_between(
    name: str, value: Any, low: float | int, high: float | int, *, is_above: bool
) -> None:
    """Raises UserError for a number, or one in a tuple, outside [low, high], or at low if above."""
    for number in numbers(value):
        if not low <= number <= high or (is_above and number == low):
            bounds = f"above {low} and at most {high}" if is_above else f"{low} to {high}"
            raise errors.UserError(f"{name} is {value}; expected {bounds}")


def _convert(value: Any, hint: Any, where: str) -> Any:
    """`value` as the annotated type; only lossless conversions are made."""
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        return value if isinstance(value, hint) else build(hint, value, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return _convert_union(value, arguments, where)
    if origin is tuple and isinstance(value, list | tuple):
        inner = arguments[0] if len(arguments) == 2 and arguments[1] is Ellipsis else None
        hints = [inner] * len(value) if inner else arguments
        if len(hints) == len(value):
            return tuple(
                _convert(item, item_hint, f"{where}[{index}]")
                for index, (item, item_hint) in enumerate(zip(value, hints, strict=True))
            )
    elif hint is float and isinstance(value, int | float) and not isinstance(value, bool):
        if not abs(value) <= LARGEST_FLOAT:
            raise errors.UserError(
                f"{where} is {_brief(value)}; expected a finite number of 32 bits"
            )
        return float(value)
    elif hint is Any or (
        isinstance(hint, type)
        and isinstance(value, hint)
        and (hint is bool or not isinstance(value, bool))
    ):
        return value
    name = getattr(hint, "__name__", None) if origin is None else str(hint)
    raise errors.UserError(f"{where} is {_brief(value)} ({type(value).__name__}); expected {name}")


def check_fields(config: Any, where: str, of: str) -> None:
    """Raises UserError for what is no mapping of fields."""
    if not isinstance(config, Mapping):
        raise errors.UserError(f"{where} is {_brief(config)}; expected the fields of {of}")


def _check_integers(value: Any, where: str) -> None:
    """Raises UserError for what the dataclass itself lets pass."""
    if isinstance(value, tuple):
        for index, item in enumerate(value):
            _check_integers(item, f"{where}[{index}]")
    elif isinstance(value, int) and not INTEGERS[0] <= value <= INTEGERS[1]:
        low, high = INTEGERS
        raise errors.UserError(f"{where} is {_brief(value)}; expected {low} to {high}")


def _brief(value: Any) -> str:
    """The value as Python writes it, cut where it fills more than a line."""
    try:
        text = repr(value)
    except ValueError:  # of an integer with thousands of digits
        return "a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:100]}..."


def _convert_union(value: Any, options: tuple, where: str) -> Any:
    if value is None and type(None) in options:
        return None
    failures = []
    for option in options:
        if option is type(None):
            continue
        try:
            return _convert(value, option, where)
        except errors.UserError as failure:
            failures.append(failure)
    raise failures[-1]
