"""The phases of the demo: both stages on digits or a folder of images, samples, and a report."""

import pathlib
from typing import Any

from resgen_jax.evaluation import images as image_measures
from resgen_jax.runs import (
    encode,
    open_run,
    progress,
    reconstruct,
    run_directory,
    sampling,
    train,
    watching,
)
from resgen_jax.runs.demo import evidence, phases, plans, report, sample_judge

PHASES = "phases.json"
NUM_UNMASKED = 10
JUDGE_STEPS = 400  # of the digits' judge, which then is right on 97 % of those held out
NUM_CROPS = 5  # the generator would know 4,500 digits by heart; it does not know 27,000 views


def demo(plan: plans.Plan) -> pathlib.Path:
    """All phases in order, each skipped if it is done; the path of the report."""
    record = phases.Phases(plan.workdir / PHASES)
    steps = [
        ("tokenizer", "learns to write each image as codes, and to draw it back", _tokenizer),
        ("reconstruct", "held-out images from their codes", _reconstruct),
        ("encode", "the codes of all images", _encode),
        ("generator", "learns to make up codes, class by class", _generator),
        ("sample", "new images, with what the decoder shows on the way", _sample),
        ("fill_in", "the lower half of held-out images drawn anew", evidence.fill_in),
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
    return report.write(plan, record.all())


def _without_place(generator: Any) -> dict[str, Any]:
    """The config as JSON but for where its codes lie, so that a folder moved is still done."""
    fields = run_directory.to_json(generator)
    del fields["data"]["codes"]
    return fields


def _tokenizer(plan: plans.Plan) -> None:
    train.train(plan.tokenizer, plan.tokenizer_dir)


def _reconstruct(plan: plans.Plan) -> None:
    tokenizer = open_run.open_tokenizer(plan.tokenizer_dir, progress.say)
    reconstruct.reconstruct(tokenizer, plan.workdir)


def _encode(plan: plans.Plan) -> None:
    tokenizer = open_run.open_tokenizer(plan.tokenizer_dir, progress.say)
    encode.encode(tokenizer, plan.tokenizer_dir, plan.codes_dir, num_crops=plan.num_crops)


def _generator(plan: plans.Plan) -> None:
    train.train(plan.generator, plan.generator_dir)


def _sample(plan: plans.Plan) -> None:
    generator = open_run.open_generator(plan.generator_dir, progress.say)
    tokenizer = open_run.open_tokenizer_for(generator, None, progress.say)
    spec = generator.config.sampler
    class_names = generator.meta.class_names
    labels = sampling.in_turn(None, len(class_names), plan.num_samples)
    samples = sampling.draw(generator, tokenizer, spec, labels, seed=0, batch_size=500)
    shown = sampling.in_turn(None, len(class_names), NUM_UNMASKED)
    states = watching.watch(generator, tokenizer, spec, shown, seed=1)
    by_step, share = states.images, states.share_revealed
    report.save_samples(plan.workdir, samples, by_step, share, shown, class_names)


def _judge(plan: plans.Plan) -> None:
    """A judge of the real images says what it thinks of the samples."""
    images, labels = report.read_samples(plan.workdir)
    judging = sample_judge.train(plan)
    found = judging.judge(images, labels)
    samples = image_measures.Labelled(images, labels)
    found |= evidence.beside_real(
        plan, samples, judging.real, judging.held_out, judging.class_names
    )
    run_directory.write_json(plan.workdir / report.JUDGED, found)
