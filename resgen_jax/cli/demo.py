"""`resgen demo`: both stages on digits or a folder of images, samples of them, and a report."""

import argparse
import dataclasses
import pathlib
from typing import Any

import ml_collections

from resgen_jax.cli import (
    agreeing,
    comparison,
    configuration,
    demo_minutes,
    demo_pictures,
    demo_report,
    encode,
    flags,
    phases,
    progress,
    reconstruct,
    referee,
    run_directory,
    sampling,
    sections,
    train,
    trained,
)
from resgen_jax.evaluation import images as image_measures
from resgen_jax.evaluation import judge
from resgen_jax.training import loop

STOPPED = 3
PHASES = "phases.json"
NUM_UNMASKED = 10
JUDGE_STEPS = 400  # of the digits' judge, which then is right on 97 % of those held out
NUM_CROPS = 5  # the generator would know 4,500 digits by heart; it does not know 27,000 views


def add_flags(parser: flags.Parser) -> None:
    """--images, --workdir, --image_size, --num_samples, how long, --compare, --samplers."""
    flags.add_images(parser, "your images in place of the handwritten digits")
    flags.add_workdir(parser, "run directory (%(default)s); run again to go on", "runs/demo")
    parser.add_argument("--image_size", type=int, help="side in pixels, with --images (64)")
    parser.add_argument("--num_samples", type=int, help="how many are judged (1000; images 400)")
    parser.add_argument(
        "--minutes",
        type=float,
        help="train both stages for about as long together; the rest comes on top",
    )
    parser.add_argument(
        "--fast", action="store_true", help="a few steps of small networks, to try the machinery"
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="then train the generator once for each training choice, and compare their samples",
    )
    parser.add_argument(
        "--samplers", action="store_true", help="then draw in several ways, and compare the samples"
    )


@dataclasses.dataclass(frozen=True)
class Plan:
    """What the demo runs: two configs, and where everything goes."""

    workdir: pathlib.Path
    tokenizer: ml_collections.ConfigDict
    generator: ml_collections.ConfigDict
    num_samples: int
    judge_steps: int
    num_crops: int  # random crops of each training image whose codes the generator sees, too
    is_digits: bool
    has_targets: bool  # goals are for the digits, trained to the end

    @property
    def tokenizer_dir(self) -> pathlib.Path:
        """Run directory of the tokenizer."""
        return self.workdir / "tokenizer"

    @property
    def generator_dir(self) -> pathlib.Path:
        """Run directory of the generator."""
        return self.workdir / "generator"

    @property
    def codes_dir(self) -> pathlib.Path:
        """The codes between the two."""
        return self.workdir / "codes"


def run(values: argparse.Namespace, overrides: flags.Overrides) -> int:
    """Runs the phases that are not done yet; 3 if stopped, after saving."""
    del overrides
    plan = make_plan(values)
    run_directory.check_writable(plan.workdir, PHASES, demo_report.PAGE)
    try:
        with agreeing.alone(plan.workdir, progress.say):
            plan = plan if values.fast else demo_minutes.fitted(plan, values.minutes)
            page = demo(plan)
            if values.compare:
                comparison.compare(plan)
            if values.samplers:
                comparison.samplers(plan)
    except loop.Stopped as stopped:
        progress.say(f"resgen demo: stopped after step {stopped.step}, and saved")
        progress.say(f"go on with: {values.command}")
        return STOPPED
    progress.result(f"report: {page}")
    return 0


def make_plan(values: argparse.Namespace) -> Plan:
    """The configs of the demo for digits or for a folder of images."""
    if values.minutes is not None:
        demo_minutes.check(values.minutes, is_fast=values.fast)
    workdir, is_digits = pathlib.Path(values.workdir), not values.images
    kind, words = ("mnist" if is_digits else "folder"), (":tiny" if values.fast else "")
    tokenizer_fields = []
    if values.images:
        tokenizer_fields.append(("data.path", values.images))
    if values.image_size is not None:
        flags.at_least("image_size", values.image_size, 1)
        tokenizer_fields.append(("data.image_size", str(values.image_size)))
    num_samples = values.num_samples
    if num_samples is None:
        num_samples = 40 if values.fast else 1000 if is_digits else 400
    flags.at_least("num_samples", num_samples, 1)
    return Plan(
        workdir=workdir,
        tokenizer=configuration.load(f"tokenizers/rq_vae_{kind}.py{words}", tokenizer_fields),
        generator=configuration.load(
            f"generators/resgen_{kind}.py{words}", [("data.codes", str(workdir / "codes"))]
        ),
        num_samples=num_samples,
        judge_steps=20 if values.fast else JUDGE_STEPS if is_digits else judge.SPEC.num_steps,
        num_crops=NUM_CROPS if is_digits and not values.fast else 0,
        is_digits=is_digits,
        has_targets=is_digits and not values.fast,
    )


def demo(plan: Plan) -> pathlib.Path:
    """All phases in order, each skipped if it is done; the path of the report."""
    record = phases.Phases(plan.workdir / PHASES)
    steps = [
        ("tokenizer", "learns to write each image as codes, and to draw it back", _tokenizer),
        ("reconstruct", "held-out images from their codes", _reconstruct),
        ("encode", "the codes of all images", _encode),
        ("generator", "learns to make up codes, class by class", _generator),
        ("sample", "new images, with what the decoder shows on the way", _sample),
        ("fill_in", "the lower half of held-out images drawn anew", demo_pictures.fill_in),
        ("judge", "a classifier of the real images looks at the samples", _judge),
    ]
    settings: dict[str, Any] = {
        "tokenizer": run_directory.to_json(plan.tokenizer),
        "generator": _without_place(plan.generator),
        "num_samples": plan.num_samples,
    }
    for number, (name, purpose, step) in enumerate(steps):
        is_training = name in settings
        needed = {name: settings[name]} if is_training else settings
        if record.is_done(name, needed):
            progress.say(f"[{number + 1}/{len(steps)}] {name}: done before")
            continue
        progress.say(f"[{number + 1}/{len(steps)}] {name}: {purpose}")
        with record.run(name, needed, goes_on=is_training):
            step(plan)
    return demo_report.write(plan, record.all())


def _without_place(generator: ml_collections.ConfigDict) -> dict[str, Any]:
    """The config as JSON but for where its codes lie, so that a folder moved is still done."""
    fields = run_directory.to_json(generator)
    del fields["data"]["codes"]
    return fields


def _tokenizer(plan: Plan) -> None:
    train.train(plan.tokenizer, plan.tokenizer_dir)


def _reconstruct(plan: Plan) -> None:
    tokenizer = trained.open_tokenizer(plan.tokenizer_dir, progress.say)
    reconstruct.reconstruct(tokenizer, plan.workdir)


def _encode(plan: Plan) -> None:
    tokenizer = trained.open_tokenizer(plan.tokenizer_dir, progress.say)
    encode.encode(tokenizer, plan.tokenizer_dir, plan.codes_dir, num_crops=plan.num_crops)


def _generator(plan: Plan) -> None:
    train.train(plan.generator, plan.generator_dir)


def _sample(plan: Plan) -> None:
    generator = trained.open_generator(plan.generator_dir, progress.say)
    tokenizer = trained.open_tokenizer_for(generator, None, progress.say)
    spec = sections.read(generator.config, "sampler")
    class_names = generator.meta.class_names
    labels = sampling.in_turn(None, len(class_names), plan.num_samples)
    samples = sampling.draw(generator, tokenizer, spec, labels, seed=0, batch_size=500)
    shown = sampling.in_turn(None, len(class_names), NUM_UNMASKED)
    by_step, share = sampling.unmask(generator, tokenizer, spec, shown, seed=1)
    demo_report.save_samples(plan.workdir, samples, by_step, share, shown, class_names)


def _judge(plan: Plan) -> None:
    """A judge of the real images says what it thinks of the samples."""
    images, labels = demo_report.read_samples(plan.workdir)
    judging = referee.train(plan)
    found = judging.judge(images, labels)
    samples = image_measures.Labelled(images, labels)
    found |= demo_pictures.beside_real(
        plan, samples, judging.real, judging.held_out, judging.class_names
    )
    run_directory.write_json(plan.workdir / demo_report.JUDGED, found)
