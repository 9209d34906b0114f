"""`resgen evaluate`: distances of samples, reconstructions or a generator to real images."""

import argparse
import dataclasses
import pathlib
import shlex
from typing import Any

from resgen_jax import recipes
from resgen_jax.cli import evaluate_sweep, flags, sampler_flags
from resgen_jax.cli.evaluate_flags import RECORD
from resgen_jax.core import errors, shell
from resgen_jax.io import paths
from resgen_jax.runs import (
    evaluate_files,
    evaluate_runs,
    evaluation_record,
    evaluation_request,
    judging,
    progress,
    run_directory,
)

FORMS = (
    "--samples=FILE --reference=FILE, --workdir=RUN, --write_reference=FILE --images=DIR, or "
    "--write_judge=DIR --images=DIR --image_size=SIDE"
)
# What is measured, and the flags that have a meaning there beside those of every form.
USES = {
    "samples": ("samples", "reference", "num_images", "crop", "output", "adm_manifolds"),
    "write_reference": ("write_reference", "images", "image_size", "crop"),
    "write_judge": ("write_judge", "images", "image_size", "crop", "judge_epochs"),
    "tokenizer": ("workdir", "reference", "num_images", "images", "crop", "output", "depths"),
    "generator": (
        *("workdir", "reference", "num_images", "images", "crop", "output"),
        *("num_samples", "seed", "num_seeds", "judge", "tokenizer", "labels", "adm_manifolds"),
        *sampler_flags.names(),
        *("guide", "sweep", "budget"),
    ),
}
WHAT = {
    "samples": "--samples",
    "write_reference": "--write_reference",
    "write_judge": "--write_judge",
    "tokenizer": "a tokenizer",
    "generator": "a generator",
}


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Prints a short table and writes the record; with --sweep those of all points."""
    del overrides
    shell.at_least("batch_size", values.batch_size, 1)
    shell.at_least("num_images", values.num_images, 0)
    shell.at_least("num_samples", values.num_samples, 2)
    shell.at_least("num_seeds", values.num_seeds, 1)
    if values.image_size is not None:
        shell.at_least("image_size", values.image_size, 1)
    form, place = _form(values)
    if values.sweep is not None:
        evaluate_sweep.run(values, _request(values))
        return
    if values.budget is not None:
        raise errors.UserError(
            "--budget needs --sweep, which measures what there is to choose from"
        )
    output = paths.of(values.output or place / RECORD)
    if form not in (evaluate_files.write_reference, judging.write):
        run_directory.check_writable(output.parent, output.name)
    record = evaluation_record.of(form, _request(values), values.command)
    if "metrics" in record:
        run_directory.write_json(output, evaluation_record.plain(record))
        for line in table(record):
            progress.result(line)
        progress.result(f"record: {output}")


def _request(values: argparse.Namespace) -> evaluation_request.Request:
    """The flags that are about what is measured."""
    known = [field.name for field in dataclasses.fields(evaluation_request.Request)]
    given = {name: value for name, value in vars(values).items() if name in known}
    return evaluation_request.Request(**given, knobs=sampler_flags.read(values))


def table(found: dict[str, Any]) -> list[str]:
    """The metrics, a line each; those by depth in columns."""
    metrics, by_depth = found["metrics"], found.get("by_depth", {})
    spread = {name: f"  spread {value:.4f}" for name, value in found.get("spread", {}).items()}
    lines = [
        f"{name:<20} {value:.4f}{spread.get(name, '')}"
        for name, value in metrics.items()
        if name not in by_depth
    ]
    if spread:
        seeds = found["seeds"]
        lines.append(f"means over seeds {seeds[0]} to {seeds[-1]}; spread: largest less smallest")
    if by_depth:
        lines.append("".join([f"{'depth':<8}", *(f"{name:>18}" for name in by_depth)]))
        for row, depth in enumerate(found["depths"]):
            cells = (f"{values[row]:>18.4f}" for values in by_depth.values())
            lines.append("".join([f"{depth:<8}", *cells]))
    for level, usage in enumerate(found.get("usage_by_level", ())):
        perplexity = found["perplexity_by_level"][level]
        lines.append(f"level {level}: usage {usage:.1%}, perplexity {perplexity:.1f}")
    return lines


def _form(values: argparse.Namespace) -> tuple[Any, paths.Path]:
    """What to do, and where its record goes."""
    words = ("samples", "workdir", "write_reference", "write_judge")
    given = [name for name in words if getattr(values, name)]
    if len(given) != 1:
        what = f"--{' and --'.join(given)} exclude each other" if given else "nothing to measure"
        raise errors.UserError(f"{what}: give one of {FORMS}")
    what = given[0]
    if values.workdir:
        what = recipes.find(run_directory.read(values.workdir).task).role.noun
    _refuse_unused(values, what)
    if what == "write_reference":
        flags.require(values, "images", "the folder to take statistics of", "photos")
        return evaluate_files.write_reference, pathlib.Path()
    if what == "write_judge":
        flags.require(values, "images", "the folder to learn from", "photos")
        if values.image_size is None:
            raise errors.UserError(
                "--image_size is missing: the side of the images to judge, e.g. --image_size=32"
            )
        return judging.write, pathlib.Path()
    if what == "samples":
        flags.require(values, "reference", "what to compare with", "reference.npz")
        place = pathlib.Path(values.samples)
        return evaluate_files.samples_of_file, place if place.is_dir() else place.parent
    return evaluate_runs.FORMS[what], paths.of(values.workdir)


def _refuse_unused(values: argparse.Namespace, form: str) -> None:
    """Raises UserError for a flag that would change nothing in this form."""
    words = [word.partition("=")[0] for word in shlex.split(values.command)]
    given = [word[2:].replace("-", "_") for word in words if word.startswith("--")]
    for name in given:
        users = [WHAT[user] for user, names in USES.items() if name in names]
        if users and WHAT[form] not in users:
            raise errors.UserError(
                f"--{name} is for {' or '.join(users)}, but this is {WHAT[form]}; leave it out"
            )
