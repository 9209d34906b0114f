"""What the processes of a run have to have in common, compared before anything is traced.

Processes that differ would hang in their first collective, or train what nobody asked for.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from resgen_jax.core import errors

MOST_SHOWN = 5
UNSET = object()
# Nothing that is learnt depends on the clock, so a wrong one is no reason to refuse a pod; but
# times in logs do not compare, and buckets turn a login down that is some minutes off.
MOST_CLOCK_SECONDS = 5.0


def check(facts: Sequence[Mapping[str, Any]], names: Sequence[str], way_out: str) -> None:
    """Raises UserError, naming fields, values and processes, unless all facts are the same.

    `facts` and `names` are those of each process; `way_out` ends the message.
    """
    found = differences(facts, names)
    if found:
        more = f"; and {len(found) - MOST_SHOWN} more" if len(found) > MOST_SHOWN else ""
        raise errors.UserError(
            f"the processes do not agree: {'; '.join(found[:MOST_SHOWN])}{more}. {way_out}"
        )


def differences(facts: Sequence[Mapping[str, Any]], names: Sequence[str]) -> list[str]:
    """`seed is 0 in process 0 (a) and 1 in process 1 (b)` for each field that differs."""
    fields = sorted({field for fact in facts for field in fact})
    said = []
    for field in fields:
        groups: list[tuple[Any, list[str]]] = []
        for fact, name in zip(facts, names, strict=True):
            value = fact.get(field, UNSET)
            same = next((group for group in groups if _is_same(group[0], value)), None)
            if same is None:
                groups.append((value, [name]))
            else:
                same[1].append(name)
        if len(groups) > 1:
            parts = [f"{_written(value)} in {_listed(where)}" for value, where in groups]
            said.append(f"{field} is {', '.join(parts[:-1])} and {parts[-1]}")
    return said


def clock_warning(seconds: Sequence[float], names: Sequence[str]) -> str | None:
    """What to say of clocks that were read at about the same moment; None if they agree."""
    skew = max(seconds) - min(seconds)
    if skew <= MOST_CLOCK_SECONDS:
        return None
    first, last = (names[list(seconds).index(pick(seconds))] for pick in (min, max))
    return (
        f"warning: the clock of {last} is {skew:.0f} s ahead of that of {first}; set them by NTP, "
        "for logs are hard to compare and buckets may turn logins down"
    )


def _is_same(one: Any, other: Any) -> bool:
    return one is other if UNSET in (one, other) else type(one) is type(other) and one == other


def _written(value: Any) -> str:
    text = "not set" if value is UNSET else repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _listed(names: Sequence[str]) -> str:
    if len(names) > 3:
        return f"{names[0]}, {names[1]} and {len(names) - 2} more"
    return " and ".join(names)
