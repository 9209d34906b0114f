"""What several `resgen scale compile --output=DIR/NAME.json` found, as one Markdown table."""

import json
import re
from collections.abc import Mapping
from typing import Any

from resgen_jax.core import errors
from resgen_jax.io import paths
from resgen_jax.runs import progress

COLUMNS = {
    "row": lambda row: row["name"],
    "chips": lambda row: row["topology"].replace(" chips", ""),
    "mesh": lambda row: re.sub(r"(, )?\w+=1\b", "", row["mesh"]).removeprefix(", "),
    "batch": lambda row: f"{row['batch_size']:,}",
    "memory of a chip, GiB": lambda row: _memory(row),
    "FLOPs": lambda row: f"{row['model_flops_per_step']:.2e}",
    "compute / HBM / links, ms": lambda row: _times(row),
    "predicted step": lambda row: _step(row),
    "predicted MFU": lambda row: f"{row['predicted_mfu']:.2f}" if row["fits"] else "",
    "compiled in": lambda row: f"{row['compile_seconds']:.0f} s" if row["fits"] else "",
}


def show(folder: str) -> None:
    """Prints the table, by name of file. Raises UserError where there is none."""
    found = sorted(paths.of(folder).glob("*.json"), key=lambda path: path.name)
    if not found:
        raise errors.UserError(
            f"--table={folder} holds no .json file; write some with --output={folder}/NAME.json"
        )
    rows = [json.loads(path.read_text()) | {"name": path.name[:-5]} for path in found]
    for path, row in zip(found, rows, strict=True):
        if "predicted_step_seconds" not in row and row.get("fits") is not False:
            raise errors.UserError(f"{path} is not what `resgen scale compile` wrote; move it away")
    versions = sorted({row["versions"] for row in rows})
    progress.result("\n".join([*_lines(rows), "", f"Compiled by {'; '.join(versions)}."]))


def _lines(rows: list[Mapping[str, Any]]) -> list[str]:
    cells = [list(COLUMNS), ["---"] * len(COLUMNS)]
    cells += [[cell(row) for cell in COLUMNS.values()] for row in rows]
    return [f"| {' | '.join(line)} |" for line in cells]


def _memory(row: Mapping[str, Any]) -> str:
    *_, together, available = (part["gib_per_chip"] for part in row["memory"])
    if row["fits"]:
        return f"{together:.2f} of {available:.2f}"
    said = re.search(r"([\d.]+) of", row["verdict"])
    return f"{said.group(1) if said else 'more'} of {available:.2f}: too large"


def _times(row: Mapping[str, Any]) -> str:
    if not row["fits"]:
        return ""
    times = (row[f"predicted_{name}_seconds"] for name in ("compute", "hbm", "link"))
    return " / ".join(f"{1000 * seconds:,.1f}" for seconds in times)


def _step(row: Mapping[str, Any]) -> str:
    """The time of a step, and of the whole job where there is a usual one."""
    if not row["fits"]:
        return ""
    jobs = [
        f"; {int(name.rpartition('_')[2]):,} in {value:,.1f} s"
        for name, value in row.items()
        if name.startswith("predicted_seconds_of_")
    ]
    return f"{1000 * row['predicted_step_seconds']:,.1f} ms{''.join(jobs)}"
