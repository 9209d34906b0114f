"""`resgen demo`: both stages on digits or a folder of images, samples of them, and a report."""

import argparse
import pathlib

from resgen_jax.cli import flags
from resgen_jax.core import shell
from resgen_jax.evaluation import judge
from resgen_jax.runs import consensus, progress, run_directory
from resgen_jax.runs.configs import configuration
from resgen_jax.runs.demo import demo, minutes, plans, report
from resgen_jax.training import loop

STOPPED = 3


def run(values: argparse.Namespace, overrides: flags.Overrides) -> int:
    """Runs the phases that are not done yet; 3 if stopped, after saving."""
    del overrides
    plan = make_plan(values)
    run_directory.check_writable(plan.workdir, demo.PHASES, report.PAGE)
    try:
        with consensus.alone(plan.workdir, progress.say):
            plan = plan if values.fast else minutes.fitted(plan, values.minutes)
            page = demo.demo(plan)
    except loop.Stopped as stopped:
        progress.say(f"resgen demo: stopped after step {stopped.step}, and saved")
        progress.say(f"go on with: {values.command}")
        return STOPPED
    progress.result(f"report: {page}")
    return 0


def make_plan(values: argparse.Namespace) -> plans.Plan:
    """The configs of the demo for digits or for a folder of images."""
    if values.minutes is not None:
        minutes.check(values.minutes, is_fast=values.fast)
    workdir, is_digits = pathlib.Path(values.workdir), not values.images
    kind, words = ("mnist" if is_digits else "folder"), (":tiny" if values.fast else "")
    tokenizer_fields = []
    if values.images:
        tokenizer_fields.append(("data.path", values.images))
    if values.image_size is not None:
        shell.at_least("image_size", values.image_size, 1)
        tokenizer_fields.append(("data.image_size", str(values.image_size)))
    num_samples = values.num_samples
    if num_samples is None:
        num_samples = 40 if values.fast else 1000 if is_digits else 400
    shell.at_least("num_samples", num_samples, 1)
    return plans.Plan(
        workdir=workdir,
        tokenizer=configuration.load(f"tokenizers/rq_vae_{kind}.py{words}", tokenizer_fields),
        generator=configuration.load(
            f"generators/resgen_{kind}.py{words}", [("data.codes", str(workdir / "codes"))]
        ),
        num_samples=num_samples,
        judge_steps=20 if values.fast else demo.JUDGE_STEPS if is_digits else judge.SPEC.num_steps,
        num_crops=demo.NUM_CROPS if is_digits and not values.fast else 0,
        is_digits=is_digits,
        has_targets=is_digits and not values.fast,
    )
