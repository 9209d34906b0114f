"""`resgen scale plan, run and fit`: a study's runs and their cost, their training, their law."""

import argparse
import fnmatch
import statistics
from collections.abc import Callable, Sequence
from typing import Any

from resgen_jax.cli import flags
from resgen_jax.core import build, errors, shell
from resgen_jax.io import json_files, paths
from resgen_jax.runs import progress, run_directory, train
from resgen_jax.runs.configs import studies
from resgen_jax.scaling.laws import plot, report, study
from resgen_jax.training.telemetry import flops

Rate = Callable[[study.Run], float | None]


def plan(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """The runs with parameters, operations, predicted chip-hours and how far they are."""
    found = _open(values, overrides)
    rate, source = _rate(values, found.runs)
    rows = []
    for run in found.runs:
        row = run.row()
        del row["budget"], row["seed"], row["size"]
        per_second = rate(run)
        hours = None if per_second is None else study.chip_hours(run.flops, per_second)
        rows.append({**row, "chip_hours": hours, "status": _status(values, found, run)})
    known = [row["chip_hours"] for row in rows if row["chip_hours"] is not None]
    left = [row["chip_hours"] for row in rows if row["status"] != study.DONE]
    is_known = len(known) == len(rows)
    return {
        "runs": rows,
        "num_runs": len(rows),
        "total_flops": sum(run.flops for run in found.runs),
        "total_chip_hours": sum(known) if is_known else None,
        "chip_hours_left": sum(left) if is_known else None,
        "chip_hours_from": source,
    }


def run(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """Trains the runs that are not finished, one after the other; each goes on where it stopped."""
    workdir = flags.require(values, "workdir", "where the study is kept", "runs/study")
    found = _open(values, overrides)
    chosen = [each for each in found.runs if fnmatch.fnmatch(each.name, values.only or "*")]
    if not chosen:
        hint = build.nearest(values.only, found.configs)
        raise errors.UserError(f"no run is named {values.only!r}; {hint}")
    states = {each.name: _status(values, found, each) for each in found.runs}
    _write_study(workdir, found)
    for number, each in enumerate(chosen, start=1):
        place = f"run {number} of {len(chosen)}, {each.name}: {each.num_steps} steps"
        if states[each.name] == study.DONE:
            progress.say(f"{place}; done before")
            continue
        progress.say(place)
        train.train(found.configs[each.name], studies.folder(workdir, each))
    num_done = sum(_status(values, found, each) == study.DONE for each in found.runs)
    return {
        "finished_runs": num_done,
        "all_runs": len(found.runs),
        "next": f"resgen scale fit {shell.written('workdir', workdir)}",
    }


def fit(values: argparse.Namespace, overrides: flags.Overrides) -> dict[str, Any]:
    """The law through the finished runs' held-out losses; also as WORKDIR/fit.json and fit.png."""
    del overrides
    workdir = paths.of(
        flags.require(values, "workdir", "a study that `resgen scale run` made", "runs/study")
    )
    written = _read_study(workdir)
    metric = written["metric"]
    rows = study.losses(workdir / studies.RUNS, written["runs"], metric)
    if not rows:
        raise errors.UserError(f"no run in {workdir} is finished; go on with `resgen scale run`")
    run_directory.check_writable(workdir, "fit.json", "fit.png")
    result = report.make(rows, law=values.law, unit=written["unit"])
    figures = {
        "metric": metric,
        "num_runs": f"{len(rows)} of {len(written['runs'])}",
        **result.figures(),
    }
    run_directory.write_json(workdir / "fit.json", figures)
    picture = plot.draw(result, meaning=written["meaning"], title=values.title)
    run_directory.save_picture(workdir / "fit.png", picture)
    return {**figures, "plot": str(workdir / "fit.png")}


def _open(values: argparse.Namespace, overrides: flags.Overrides) -> studies.Study:
    text = flags.require(values, "config", "the study's config file", studies.EXAMPLE)
    return studies.expand(studies.load(text, overrides))


def _status(values: argparse.Namespace, found: studies.Study, run: study.Run) -> str:
    """How far a run is; UserError if its directory holds another config's run."""
    if not values.workdir:
        return study.NEW
    place = studies.folder(values.workdir, run)
    state = study.status(place, run.num_steps)
    if state != study.NEW:
        there = run_directory.read_fields(place)
        here = run_directory.to_json(found.configs[run.name])
        run_directory.refuse_other(place, there, here, is_same_data=True)  # told when it runs
    return state


def _rate(values: argparse.Namespace, runs: Sequence[study.Run]) -> tuple[Rate, str]:
    """FLOP/s of one chip for each run, and in words where they come from."""
    if values.flops_per_second is not None:
        rate = _positive("flops_per_second", values.flops_per_second)
        return lambda run: rate, f"{rate:.3g} FLOP/s, as stated"
    if values.chip:
        peak = flops.peak(values.chip)
        if peak is None:
            hint = build.nearest(values.chip, flops.PEAK_FLOPS)
            raise errors.UserError(f"--chip is {values.chip!r}; {hint}")
        if values.mfu is None:
            raise errors.UserError("--mfu is missing: the share of the chip's peak, e.g. --mfu=0.4")
        share = _positive("mfu", values.mfu, most=1.0)
        return lambda run: peak * share, f"{share:g} of the {peak:.3g} FLOP/s of a {values.chip}"
    return _measured_rate(values, runs)


def _measured_rate(values: argparse.Namespace, runs: Sequence[study.Run]) -> tuple[Rate, str]:
    """By size where a run of that size has been timed, else the median of all that have."""
    by_size: dict[str, list[float]] = {}
    for run in runs if values.workdir else ():
        measured = study.measured_rate(studies.folder(values.workdir, run))
        if measured is not None:
            by_size.setdefault(run.size.name, []).append(measured)
    if not by_size:
        hint = "unknown: give --chip and --mfu, or --flops_per_second, or train a run first"
        return lambda run: None, hint
    of_all = statistics.median([rate for rates in by_size.values() for rate in rates])
    medians = {name: statistics.median(rates) for name, rates in by_size.items()}
    return lambda run: medians.get(run.size.name, of_all), "rates measured by this study's runs"


def _positive(name: str, value: float, most: float = float("inf")) -> float:
    if not 0 < value <= most:
        bound = f"above 0 and at most {most:g}" if most < float("inf") else "above 0"
        raise errors.UserError(f"--{name} is {value:g}; expected {bound}")
    return value


def _write_study(workdir: str, found: studies.Study) -> None:
    """What `fit` reads: it needs neither the config file nor the data."""
    fields = {
        "unit": found.spec.unit,
        "metric": found.spec.metric,
        "meaning": found.spec.meaning,
        "runs": [each.row() for each in found.runs],
    }
    run_directory.write_json(paths.of(workdir) / studies.FILE, fields)


def _read_study(workdir: paths.Path) -> dict[str, Any]:
    path = workdir / studies.FILE
    try:
        fields = json_files.read(path, "`resgen scale run` writes it anew")
        return {name: fields[name] for name in ("unit", "metric", "meaning", "runs")}
    except (FileNotFoundError, NotADirectoryError):
        raise errors.UserError(
            f"{str(workdir)!r} is no study (no {studies.FILE} in it); name one that "
            f"`resgen scale run --config={studies.EXAMPLE} --workdir=DIR` made"
        ) from None
    except errors.UserError:
        raise
    except (KeyError, TypeError) as failure:
        raise errors.UserError(
            f"{path} is damaged ({errors.reason(failure)}); `resgen scale run` writes it anew"
        ) from failure
