"""`resgen evaluate --sweep`: a generator under a grid of its sampler's settings."""

import argparse
from collections.abc import Mapping, Sequence
from typing import Any

from resgen_jax.cli import sweep_flags, tables
from resgen_jax.core import errors, shell
from resgen_jax.evaluation import pareto, single_plot
from resgen_jax.io import paths
from resgen_jax.runs import evaluation_request, progress, run_directory
from resgen_jax.runs.study import sweep, sweep_results


def run(values: argparse.Namespace, request: evaluation_request.Request) -> None:
    """Measures what is not measured yet; prints the table, writes the picture, names the best."""
    grid = sweep_flags.read(values)
    if values.budget is not None and not values.budget > 0:
        raise errors.UserError(f"--budget is {values.budget}; expected seconds above 0")
    fixed = [name for name in grid if request.knobs.get(name) is not None]
    if fixed:
        raise errors.UserError(f"--{fixed[0]} is fixed, but --sweep names it, too; leave out one")
    folder = paths.of(values.output or values.workdir)
    files = sweep_results.FILE, sweep_results.PICTURE, sweep_results.BY_STEPS
    run_directory.check_writable(folder, *files)
    lines = sweep.run(request, grid, folder)
    for text in table(lines, grid):
        progress.result(text)
    picture = draw(lines, grid)
    run_directory.save_picture(folder / sweep_results.PICTURE, picture)
    progress.result(f"points:  {folder / sweep_results.FILE}")
    progress.result(f"picture: {folder / sweep_results.PICTURE}")
    if by_steps := draw_by_steps(lines, grid):
        run_directory.save_picture(folder / sweep_results.BY_STEPS, by_steps)
        progress.result(f"picture: {folder / sweep_results.BY_STEPS}")
    if values.budget is not None:
        best = sweep_results.best_within(lines, values.budget)
        fixed = [name for name, value in request.knobs.items() if value is not None]
        flags = sweep.told(best["point"], [*names_of(lines, grid), *fixed])
        progress.result(f"best within {values.budget:g} s an image:")
        progress.result(f"  resgen sample {shell.written('workdir', values.workdir)} {flags}")


def names_of(lines: Sequence[Mapping[str, Any]], grid: sweep.Grid) -> list[str]:
    """The settings that were swept."""
    return [name for name in (grid or sweep.DEFAULT) if name in lines[0]["point"]["sampler"]]


def table(lines: Sequence[Mapping[str, Any]], grid: sweep.Grid) -> list[str]:
    """A row for each point, the nearest to the real images first; * marks the Pareto front."""
    front = sweep_results.front(lines)
    names = names_of(lines, grid)
    rows = []
    for line in sweep_results.by_distance(lines):
        metrics, settings = line["metrics"], line["point"]["sampler"]
        rows.append(
            {
                "": "*" if line in front else "",
                **{name: settings[name] for name in names},
                line["distance"]: metrics[line["distance"]],
                "agreement": sweep_results.verdict(line, "class_agreement"),
                "variety": sweep_results.verdict(line, "variety"),
                "s/image": line["seconds_per_image"],
                "calls": line["network_calls"],
            }
        )
    return tables.lines(rows)


def draw(lines: Sequence[Mapping[str, Any]], grid: sweep.Grid) -> Any:
    """The picture of all points."""
    front = sweep_results.front(lines)
    points = [
        pareto.Point(
            line["seconds_per_image"],
            sweep_results.distance_of(line),
            sweep.told(line["point"], names_of(lines, grid)).replace("--", ""),
            line in front,
        )
        for line in lines
    ]
    return pareto.draw(points, lines[0]["distance"], title=_title(lines))


def draw_by_steps(lines: Sequence[Mapping[str, Any]], grid: sweep.Grid) -> Any:
    """Distance against steps, a line for each of the other settings; None where steps are alike."""
    steps = {line["point"]["sampler"].get("num_steps") for line in lines}
    if len(steps) < 2:
        return None
    others = [name for name in names_of(lines, grid) if name != "num_steps"]
    found: dict[str, list[tuple[int, float]]] = {}
    for line in lines:
        name = sweep.told(line["point"], others).replace("--", "") or "all settings"
        pair = line["point"]["sampler"]["num_steps"], sweep_results.distance_of(line)
        found.setdefault(name, []).append(pair)
    told = {"title": _title(lines), "below": "steps", "beside": lines[0]["distance"]}
    return single_plot.lines(found, **told)


def _title(lines: Sequence[Mapping[str, Any]]) -> str:
    return f"{len(lines)} settings, {lines[0]['point']['num_samples']:,} samples each"
