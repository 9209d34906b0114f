"""Opens hostile files as the verbs would, counts how that ends, and fails if one ends wrong.

python check_files.py [--num_files=1000] [--seed=0] [--output=DIR] [--kinds=tar,...]
"""

import argparse
import collections
import dataclasses
import os
import pathlib
import shutil
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT)]

import check_results  # noqa: E402
import file_kinds  # noqa: E402
import file_trials  # noqa: E402


@dataclasses.dataclass
class Tally:
    """How the files of one group ended."""

    read: int = 0
    refused: int = 0
    wrong: list = dataclasses.field(default_factory=list)
    most_seconds: float = 0.0
    most_megabytes: float = 0.0

    def add(self, trial, outcome):
        """One more."""
        self.read += outcome.was_read and not outcome.wrong
        self.refused += not outcome.was_read and not outcome.wrong
        self.most_seconds = max(self.most_seconds, outcome.seconds)
        self.most_megabytes = max(self.most_megabytes, outcome.megabytes)
        if outcome.wrong:
            self.wrong.append(f"{trial.name}: {outcome.wrong}")


def main(arguments=None):
    """The exit code: 1 if a file ended wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_files", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="")
    parser.add_argument("--kinds", default="", help="parts of the names of kinds, by commas")
    parser.add_argument("--keep", default="", help="a folder for the files that ended wrong")
    values = parser.parse_args(arguments)
    began, tallies = time.monotonic(), collections.defaultdict(Tally)
    with tempfile.TemporaryDirectory(prefix="resgen-files-") as place:
        whole = file_kinds.Whole(pathlib.Path(place) / "whole")
        words = values.kinds.split(",")
        groups = [name for name in file_kinds.SHARES if any(word in name for word in words)]
        trials = file_kinds.trials(whole, values.num_files, values.seed, groups)
        reader = file_trials.Reader(whole.by_reader({trial.reader for trial in trials}))
        for number, trial in enumerate(trials):
            folder = pathlib.Path(place) / "trial"
            folder.mkdir()
            outcome = reader(trial.reader, trial.make(whole, folder))
            tallies[trial.group].add(trial, outcome)
            if outcome.wrong:
                check_results.say(f"wrong: {trial.group}: {trial.name}: {outcome.wrong}")
                if values.keep:
                    shutil.copytree(
                        folder, pathlib.Path(values.keep) / f"{number}", dirs_exist_ok=True
                    )
            shutil.rmtree(folder)
        reader.close()
    seconds, text = time.monotonic() - began, table(tallies)
    check_results.say(text)
    check_results.say(
        f"seed {values.seed}, {len(trials)} files, {seconds:.0f} s, {os.cpu_count()} cores"
    )
    if values.output:
        facts = {"seed": values.seed, "seconds": seconds}
        check_results.write(values.output, "files", text, tallies, **facts)
    return int(any(tally.wrong for tally in tallies.values()))


def table(tallies):
    """Markdown: a row for each kind and one for all."""
    rows = ["| files | number | read | refused in one line | wrong | CPU s, most | MB, most |"]
    rows.append("|---|---:|---:|---:|---:|---:|---:|")
    everything = Tally()
    for name, tally in tallies.items():
        rows.append(_row(name, tally))
        everything.read += tally.read
        everything.refused += tally.refused
        everything.wrong += tally.wrong
        everything.most_seconds = max(everything.most_seconds, tally.most_seconds)
        everything.most_megabytes = max(everything.most_megabytes, tally.most_megabytes)
    return "\n".join([*rows, _row("all", everything)]) + "\n"


def _row(name, tally):
    number = tally.read + tally.refused + len(tally.wrong)
    counts = " | ".join(map(str, (number, tally.read, tally.refused, len(tally.wrong))))
    return f"| {name} | {counts} | {tally.most_seconds:.1f} | {tally.most_megabytes:.0f} |"


if __name__ == "__main__":
    sys.exit(main())
