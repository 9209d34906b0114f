"""Rows of figures as lines of text, columns aligned."""

from collections.abc import Mapping, Sequence
from typing import Any


def lines(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """A heading and a line a row; the columns are the keys of the first row."""
    if not rows:
        return []
    names = list(rows[0])
    cells = [names, *([written(row.get(name)) for name in names] for row in rows)]
    widths = [max(len(line[column]) for line in cells) for column in range(len(names))]
    is_text = [isinstance(rows[0][name], str) for name in names]
    return [
        "  ".join(
            cell.ljust(width) if left else cell.rjust(width)
            for cell, width, left in zip(line, widths, is_text, strict=True)
        ).rstrip()
        for line in cells
    ]


def written(value: Any) -> str:
    """A figure with as many digits as one reads; nothing for None."""
    if value is None:
        return "-"
    if isinstance(value, float):
        if abs(value) >= 1e7:
            return f"{value:.3e}"
        return f"{value:,.4g}" if abs(value) < 1e4 else f"{value:,.0f}"
    is_count = isinstance(value, int) and not isinstance(value, bool)
    return f"{value:,}" if is_count else str(value)
