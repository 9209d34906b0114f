"""`resgen sample`: images by class from a generator's run, or a part of an image filled in."""

import argparse
import dataclasses
import json

import jax
import numpy as np

from resgen_jax.cli import flags, inpainting, progress, run_directory, sampling, trained
from resgen_jax.core import errors
from resgen_jax.evaluation import archive, pictures
from resgen_jax.evaluation import samples as sample_files
from resgen_jax.generators import confidence, proposals
from resgen_jax.io import paths

PICTURE, ARRAYS, SEAM = "samples.png", "samples.npz", "seam.json"
ADM, ADM_ARRAYS = "adm", "samples_adm.npz"
NUM_SAMPLES, NUM_FILLED_IN, NUM_SHOWN = 100, 8, 200


def add_flags(parser: flags.Parser) -> None:
    """Which samples, how they are drawn, and where they go."""
    flags.add_workdir(parser, "run directory of a generator")
    parser.allow_buckets("workdir", "output", "tokenizer", "codes")
    parser.add_argument(
        "--num_samples", type=int, help=f"how many ({NUM_SAMPLES}; with --keep {NUM_FILLED_IN})"
    )
    parser.add_argument("--classes", help="names or numbers like 0,3 (all, in turn)")
    add_labels(parser)
    add_knobs(parser)
    parser.add_argument(
        "--seed", type=flags.seed, default=0, help="same seed, same samples (%(default)s)"
    )
    parser.add_argument("--batch_size", type=int, default=100, help="at a time (%(default)s)")
    parser.add_argument("--tokenizer", metavar="DIR", help="its run directory, if it has moved")
    parser.add_argument("--output", metavar="DIR", help="where the results go (WORKDIR)")
    parser.add_argument(
        "--npz",
        choices=("ours", ADM),
        default="ours",
        help="adm: arr_0 in shuffled order, as the ADM evaluator takes it; any number fits memory",
    )
    part = parser.add_argument_group("filling in a part of an image")
    part.add_argument("--keep", metavar="R0:R1,C0:C1", help="rows and columns of the grid to keep")
    part.add_argument("--keep_from", metavar="IMAGE", help="an image file, or held-out")
    part.add_argument("--codes", metavar="DIR", help="where the run's codes lie, if they moved")


def add_labels(parser: flags.Parser) -> None:
    """--labels."""
    parser.add_argument(
        "--labels",
        choices=sampling.LABELS,
        default="balanced",
        help="balanced: the classes in turn; random: each drawn by itself (%(default)s)",
    )


def add_knobs(parser: flags.Parser) -> None:
    """The sampler's settings."""
    knobs = parser.add_argument_group(
        "knobs, as in the run's config where not given",
        "A list like 1,1.5,2 gives each step its own value.",
    )
    knobs.add_argument("--num_steps", type=int, help="network calls")
    knobs.add_argument(
        "--proposal",
        choices=sorted(proposals.KINDS),
        help="codes from the mixture, from the code head, or the mixture guided by the code head",
    )
    knobs.add_argument(
        "--confidence", choices=sorted(confidence.KINDS), help="what is revealed first"
    )
    of_what = "of the mixture's components, or of the code head"
    for name, kind, meaning in (
        ("guidance_scale", flags.numbers, "1 = off, above 1 sharpens"),
        ("temperature", flags.numbers, f"{of_what}, 1 = off"),
        ("top_k", flags.whole_numbers, f"{of_what}, 0 = all"),
        ("top_p", flags.numbers, f"{of_what}, 1 = off"),
        ("noise_scale", flags.numbers, "of the drawn vectors, 1 = off"),
        ("order_noise", flags.numbers, "in what is revealed first, 0 = none"),
    ):
        knobs.add_argument(f"--{name}", type=kind, help=meaning)


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Writes samples.png, samples.npz and with --keep seam.json, and says where they are."""
    del overrides
    workdir = flags.require(values, "workdir", "the generator's run directory", "runs/generator")
    if bool(values.keep) != bool(values.keep_from):
        given, missing = ("keep", "keep_from") if values.keep else ("keep_from", "keep")
        raise errors.UserError(
            f"--{given} needs --{missing} too, e.g. --keep=0:2,0:4 --keep_from=held-out"
        )
    if values.keep and values.npz == ADM:
        raise errors.UserError("--npz=adm is for samples to be measured; leave out --keep")
    flags.at_least("batch_size", values.batch_size, 1)
    count = values.num_samples
    if count is None:
        count = NUM_FILLED_IN if values.keep else NUM_SAMPLES
    flags.at_least("num_samples", count, 1)
    output = paths.of(values.output or workdir)
    names = (PICTURE, ADM_ARRAYS) if values.npz == ADM else (PICTURE, ARRAYS)
    run_directory.check_writable(output, *names, *([SEAM] if values.keep else []))

    generator = trained.open_generator(workdir, progress.say)
    class_names = generator.meta.class_names
    spec = sampling.spec_with(
        generator.config, {name: getattr(values, name) for name in sampling.KNOBS}
    )
    chosen = sampling.parse_classes(values.classes, class_names)
    if values.npz == ADM:
        labels = sampling.labels_for(values.labels, chosen, len(class_names), count, values.seed)
        tokenizer = trained.open_tokenizer_for(generator, values.tokenizer, progress.say)
        _write_adm(generator, tokenizer, spec, labels, values, output)
        return
    if values.keep:
        is_kept = inpainting.parse_region(values.keep, generator.meta.grid)
        tokenizer = trained.open_tokenizer_for(generator, values.tokenizer, progress.say)
        prompts = inpainting.prompts(
            generator, tokenizer, values.keep_from, chosen, count, values.codes
        )
        samples, picture, seam = inpainting.fill_in(
            generator, tokenizer, spec, prompts, is_kept, values.seed, values.batch_size
        )
        run_directory.write_json(output / SEAM, seam)
        for line in inpainting.told(seam):
            progress.result(line)
    else:
        labels = sampling.labels_for(values.labels, chosen, len(class_names), count, values.seed)
        tokenizer = trained.open_tokenizer_for(generator, values.tokenizer, progress.say)
        samples = sampling.draw(generator, tokenizer, spec, labels, values.seed, values.batch_size)
        picture = pictures.samples(samples.images, samples.labels, class_names)
    run_directory.save_picture(output / PICTURE, picture)
    run_directory.save_arrays(
        output / ARRAYS, **samples._asdict(), class_names=list(class_names), seed=values.seed
    )
    progress.result(f"picture: {output / PICTURE}")
    progress.result(f"arrays:  {output / ARRAYS} (images, labels, codes)")


def _write_adm(generator, tokenizer, spec, labels, values, output: paths.Path) -> None:
    """Draws in shuffled order straight into the file, and shows the first few."""
    meta, seed = generator.meta, values.seed
    order = np.random.default_rng(seed).permutation(len(labels))
    batches = sampling.Drawer(generator.task, spec, tokenizer).stream(
        generator.mesh,
        generator.params,
        generator.codebooks,
        labels,
        seed,
        values.batch_size,
        order=order,
    )
    shown, done = [], 0
    shape = (len(labels), meta.image_size, meta.image_size, 3)
    with (
        progress.phase("sample", len(labels)) as report,
        archive.writing(output / ADM_ARRAYS, is_on=jax.process_index() == 0) as out,
    ):
        out.array("labels", labels[order])
        out.array("class_names", list(meta.class_names))
        out.array("seed", seed)
        settings = {**dataclasses.asdict(spec), "seed": seed, "labels": values.labels}
        out.array(sample_files.SAMPLER, json.dumps(settings | {"step": generator.step}))
        out.array("order", order)  # row i is sample order[i]; shuffled by NumPy from the seed
        with out.rows("arr_0", np.uint8, shape) as append:
            for batch in batches:
                images = trained.fetch(batch.images)[: batch.count]
                append(np.broadcast_to(images, (len(images), *shape[1:])))
                shown += list(images[: NUM_SHOWN - len(shown)])
                done += batch.count
                report(done)
    picture = pictures.samples(np.stack(shown), labels[order[: len(shown)]], meta.class_names)
    run_directory.save_picture(output / PICTURE, picture)
    progress.result(f"picture: {output / PICTURE}")
    progress.result(f"arrays:  {output / ADM_ARRAYS} (arr_0, labels, order)")
    samples, where = output / ADM_ARRAYS, ""
    if paths.is_remote(output):  # they are mapped into memory
        samples, where = ADM_ARRAYS, " (on a copy of it)"
    progress.result(
        f"next:    resgen evaluate {flags.written('samples', samples)} --reference=FILE.npz{where}"
    )
