"""What the checks by the hundred print and leave behind."""

import dataclasses
import json
import pathlib
import sys


def say(text):
    """A line, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write(output, name, table, tallies, **facts):
    """The table as NAME.md, and the tallies by kind with other facts as NAME.json, in `output`."""
    output = pathlib.Path(output)
    output.mkdir(parents=True, exist_ok=True)
    (output / f"{name}.md").write_text(table)
    kinds = {kind: dataclasses.asdict(tally) for kind, tally in tallies.items()}
    (output / f"{name}.json").write_text(json.dumps(facts | {"kinds": kinds}, indent=2) + "\n")
