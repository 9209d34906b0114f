"""What a sweep over samplers' settings has found: a line of JSON for each point, and the best."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from resgen_jax.core import errors
from resgen_jax.io import json_files, paths
from resgen_jax.runs import evaluation_record, run_directory

FILE, PICTURE = "sweep.jsonl", "sweep.png"
BY_STEPS = "sweep_steps.png"
Line = Mapping[str, Any]


def read(folder: paths.Path) -> list[Line]:
    """The points that are measured already; UserError for a line that no sweep has written."""
    path = folder / FILE
    if not paths.is_file(path):
        return []
    lines = path.read_text().splitlines()
    found = [_parse(line, f"{path}, line {number}") for number, line in enumerate(lines, start=1)]
    return found


def as_read(line: Mapping[str, Any]) -> Line:
    """The line as it comes out of the file: no tuples, null for what is not finite."""
    return json.loads(json.dumps(evaluation_record.plain(dict(line))))


def append(folder: paths.Path, line: Line) -> None:
    """One more point; the file has it whole or not at all, in a bucket, too."""
    there = [*read(folder), as_read(line)]
    text = "".join(json.dumps(each) + "\n" for each in there)
    run_directory.write(folder / FILE, text.encode())


def is_done(lines: Sequence[Line], point: Mapping[str, Any]) -> bool:
    """Whether a point was measured: the same settings, seed, number of samples and model."""
    wanted = as_read(point)
    return any(line["point"] == wanted for line in lines)


def distance_of(line: Line) -> float:
    """Its distance to the real images; infinite where it was none."""
    value = line["metrics"].get(line["distance"])
    return float("inf") if value is None else value


def verdict(line: Line, name: str) -> float | None:
    """A figure such as class agreement by the judge that was trained, or the first regression."""
    metrics = line["metrics"]
    found = [value for key, value in metrics.items() if key.startswith(name)]
    return metrics.get(f"{name}-judge", found[0] if found else None)


def by_distance(lines: Sequence[Line]) -> list[Line]:
    """The nearest to the real images first."""
    return sorted(lines, key=lambda line: (distance_of(line), line["seconds_per_image"]))


def front(lines: Sequence[Line]) -> list[Line]:
    """The points than which none is both nearer and faster: faster ones first."""
    best, nearest = [], float("inf")
    for line in sorted(lines, key=lambda line: (line["seconds_per_image"], distance_of(line))):
        if distance_of(line) < nearest:
            best.append(line)
            nearest = distance_of(line)
    return best


def best_within(lines: Sequence[Line], budget: float) -> Line:
    """The nearest to the real images of those that take at most `budget` seconds an image.

    Raises UserError where none does.
    """
    affordable = [line for line in lines if line["seconds_per_image"] <= budget]
    if not affordable:
        fastest = min(line["seconds_per_image"] for line in lines)
        raise errors.UserError(
            f"--budget is {budget:g} seconds an image, but the fastest setting takes "
            f"{fastest:.3g}; allow more, or sweep over fewer steps"
        )
    return by_distance(affordable)[0]


def _parse(text: str, where: str) -> Line:
    try:
        line = json_files.parse(text)
        if isinstance(line, dict) and isinstance(line["metrics"], dict):
            float(line["seconds_per_image"]), line["point"]["sampler"], line["distance"]
            return line
    except (ValueError, KeyError, TypeError):
        pass
    raise errors.UserError(
        f"{where}: no point of a sweep; move the file away, or sweep into another --output"
    )
