"""What a comparison found: one row for each method and setting, over all its seeds."""

import statistics
from collections.abc import Sequence
from typing import Any

Row = dict[str, Any]
AVERAGED = ("class_agreement", "variety", "nats", "seconds_per_image")


def by_setting(rows: Sequence[Row]) -> list[Row]:
    """Means over training and sampling seeds; of each distance the least and greatest, too.

    The methods stand in the order of their rows, the settings of each by the first distance.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["method"], str(row["setting"])), []).append(row)
    made = [_joined(group) for group in groups.values()]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    return sorted(made, key=lambda row: (methods.index(row["method"]), _first_distance(row)))


def best(rows: Sequence[Row]) -> list[Row]:
    """Of each method the setting nearest to the real images, out of `by_setting`."""
    first: dict[str, Row] = {}
    for row in rows:
        first.setdefault(row["method"], row)
    return list(first.values())


def markdown(rows: Sequence[Row]) -> str:
    """The rows as a table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    lines = [names, ["---"] * len(names)]
    lines += [[_written(row.get(name)) for name in names] for row in rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def distances(row: Row) -> list[str]:
    """The names of the distances in a row."""
    return [name for name in row if name.startswith(("FD", "FID", "MIND")) and "range" not in name]


def _joined(group: Sequence[Row]) -> Row:
    one = group[0]
    made: Row = {
        "method": one["method"],
        "setting": " ".join(f"{name}={value}" for name, value in one["setting"].items()),
        "parameters": one["num_parameters"],
        "steps": one["num_steps"],
        "runs": len({row["seed"] for row in group}),
    }
    for name in distances(one):
        values = [row[name] for row in group]
        made[name] = statistics.fmean(values)
        if len(values) > 1:
            made[f"{name} range"] = f"{min(values):.4g} to {max(values):.4g}"
    for name in AVERAGED:
        values = [row[name] for row in group if row[name] is not None]
        made[name] = statistics.fmean(values) if values else None
    made["nats_are"] = one["nats_are"]
    made["calls"] = one["network_calls"]
    return made


def _first_distance(row: Row) -> float:
    names = distances(row)
    return row[names[0]] if names else float("inf")


def _written(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
