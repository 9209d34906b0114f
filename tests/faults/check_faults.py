"""Does faults to real training runs, counts how these end, and fails if one ends wrong.

python check_faults.py [--num_faults=200] [--seed=0] [--output=DIR] [--kinds=flip,...]
"""

import argparse
import os
import pathlib
import platform
import signal
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).parents[2]
sys.path[:0] = [str(ROOT / "tests" / "helpers"), str(ROOT)]

import check_results  # noqa: E402
import fault_disks as disks  # noqa: E402
import fault_kinds as kinds  # noqa: E402
import fault_runs  # noqa: E402
import fault_signals as signals  # noqa: E402
import fault_states as states  # noqa: E402
import fault_surroundings as surroundings  # noqa: E402

OPPOSED = kinds.training(f"--config={kinds.CONFIG}:adversarial")
TOY = ("toy", fault_runs.toy)
# Name, share of all faults, and what does that many.
KINDS = {
    "SIGKILL at a random moment": (0.15, lambda b, n: kinds.killed(b, n, signal.SIGKILL, *TOY)),
    "SIGKILL between two file operations": (0.15, kinds.killed_at_files),
    "SIGTERM at a random moment": (0.13, lambda b, n: kinds.killed(b, n, signal.SIGTERM, *TOY)),
    "SIGKILL, with local checkpoints": (
        0.05,
        lambda b, n: kinds.killed(b, n, signal.SIGKILL, "local", fault_runs.toy_with_local),
    ),
    "SIGKILL, `resgen train`": (
        0.03,
        lambda b, n: kinds.killed(b, n, signal.SIGKILL, "tiny", kinds.TINY),
    ),
    "SIGTERM, `resgen train`, adversarial": (
        0.03,
        lambda b, n: kinds.killed(b, n, signal.SIGTERM, "opposed", OPPOSED),
    ),
    "SIGTERM again while it saves": (0.03, signals.told_twice),
    "SIGHUP at a random moment": (0.03, lambda b, n: kinds.killed(b, n, signal.SIGHUP, *TOY)),
    "nobody reads the output any more": (0.03, signals.closed_pipe),
    "two starts at once": (0.03, states.two_at_once),
    "bit flipped in a checkpoint": (0.17, lambda b, n: _damaged(b, "flip", n)),
    "file of a checkpoint truncated": (0.09, lambda b, n: _damaged(b, "truncate", n)),
    "file of a checkpoint deleted": (0.09, lambda b, n: _damaged(b, "delete", n)),
    "every checkpoint damaged": (0.02, kinds.all_damaged),
    "disk full": (0.05, disks.disk_full),
    "a file of the data unreadable": (0.05, surroundings.bad_data),
    "disk full, arrays of megabytes": (0.01, disks.disk_full_of_large_arrays),
    "disk of the local checkpoints full": (0.03, disks.fast_disk_full),
    "input or output error": (0.07, disks.input_output_errors),
    "input or output error, `resgen train`": (
        0.02,
        lambda b, n: disks.input_output_errors(b, n, "tiny", kinds.TINY, kinds.TINY),
    ),
    "a folder where a file should be": (0.03, disks.folder_for_file),
    "data changed or moved meanwhile": (0.03, states.other_data),
    "a line of the metrics damaged": (0.05, states.damaged_metrics),
    "loss NaN": (0.05, kinds.poisoned),
    "one process of two killed": (0.03, surroundings.one_of_two),
}


def _damaged(bench, how, count):
    return kinds.damaged(bench, {how: count})[how]


def main(arguments=None):
    """The exit code: 1 if a run ended wrong."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--num_faults", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", default="")
    parser.add_argument("--kinds", default="", help="parts of the names of kinds, by commas")
    values = parser.parse_args(arguments)
    chosen = {
        name: kind
        for name, kind in KINDS.items()
        if not values.kinds or any(part in name for part in values.kinds.split(","))
    }
    began, results = time.monotonic(), {}
    with tempfile.TemporaryDirectory(prefix="resgen-faults-") as place:
        bench = kinds.Bench(place, values.seed)
        for name, (share, do) in chosen.items():
            count = max(1, round(share * values.num_faults + 0.4))
            at = time.monotonic()
            try:
                results[name] = do(bench, count)
            except TimeoutError as failure:  # a run that hangs is wrong; the other kinds go on
                results[name] = kinds.Tally(wrong=[str(failure)])
            check_results.say(f"{name}: {results[name]} in {time.monotonic() - at:.0f} s")
    seconds = time.monotonic() - began
    text = table(results)
    check_results.say(text)
    stop = max(tally.longest_stop for tally in results.values())
    check_results.say(f"from a notice to the end, saved: {stop:.1f} s at most")
    check_results.say(
        f"seed {values.seed}, {seconds:.0f} s, {os.cpu_count()} cores, {_processor()}"
    )
    if values.output:
        facts = {"seed": values.seed, "seconds": seconds}
        check_results.write(values.output, "faults", text, results, **facts)
    return int(any(tally.wrong for tally in results.values()))


def _processor():
    """What the machine calls its processor, where it tells."""
    path = pathlib.Path("/proc/cpuinfo")
    found = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":")[1].strip() for line in found if line.startswith("model name")]
    return next(iter(names), platform.machine())


def table(results):
    """Markdown: a row for each kind and one for all."""
    rows = ["| fault | number | resumed | refused | wrong | steps made again, at most |"]
    rows.append("|---|---:|---:|---:|---:|---:|")
    sums = [0, 0, 0, 0]
    for name, tally in results.items():
        counts = (tally.number, tally.resumed, tally.refused, len(tally.wrong))
        sums = [total + count for total, count in zip(sums, counts, strict=True)]
        rows.append(f"| {name} | {' | '.join(map(str, counts))} | {tally.most_lost} |")
    most = max((tally.most_lost for tally in results.values()), default=0)
    rows.append(f"| all | {' | '.join(map(str, sums))} | {most} |")
    return "\n".join(rows) + "\n"


if __name__ == "__main__":
    sys.exit(main())
