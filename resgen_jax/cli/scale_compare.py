"""`resgen scale compare`: methods trained alike on the same codes, in one table."""

import argparse
import fnmatch
from typing import Any

from resgen_jax.cli import flags
from resgen_jax.core import build, errors
from resgen_jax.evaluation import pareto
from resgen_jax.io import paths
from resgen_jax.runs import run_directory
from resgen_jax.runs.configs import comparisons
from resgen_jax.runs.study import comparison, comparison_table

FILE, TABLE, PICTURE = "comparison.json", "comparison.md", "comparison.png"


def run(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """Trains and measures what is left of it; also as WORKDIR/comparison.json, .md and .png."""
    text = flags.require(values, "config", "the comparison's config file", comparisons.EXAMPLE)
    place = flags.require(values, "workdir", "where it is kept", "runs/comparison")
    workdir = paths.of(place)
    found = comparisons.expand(comparisons.load(text, overrides))
    names = [member.name for member in found.members]
    pattern = values.only or "*"
    if not fnmatch.filter(names, pattern):
        raise errors.UserError(f"no run is named {pattern!r}; {build.nearest(pattern, names)}")
    run_directory.check_writable(workdir, FILE, TABLE, PICTURE)
    rows = comparison.run(
        found,
        workdir,
        lambda name: fnmatch.fnmatch(name, pattern),
        features=values.features,
        weights=values.weights,
        judge=values.judge,
    )
    table = comparison_table.by_setting(rows)
    run_directory.write_json(workdir / FILE, {"rows": rows, "by_setting": table})
    run_directory.write(workdir / TABLE, comparison_table.markdown(table).encode())
    run_directory.save_picture(workdir / PICTURE, picture(table, found.spec.num_samples))
    return {
        "best of each": comparison_table.best(table),
        "all": str(workdir / TABLE),
        "picture": str(workdir / PICTURE),
    }


def picture(table: list[dict[str, Any]], num_samples: int) -> Any:
    """Distance against seconds an image; the best setting of each method is the marked one."""
    distance = comparison_table.distances(table[0])[0]
    best = comparison_table.best(table)
    points = [
        pareto.Point(row["seconds_per_image"], row[distance], row["method"], row in best)
        for row in table
        if row["seconds_per_image"] is not None  # images that are known cost nothing
    ]
    return pareto.draw(points, distance, title=f"{num_samples:,} samples of each")
