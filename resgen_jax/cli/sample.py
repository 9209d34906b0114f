"""`resgen sample`: images by class from a generator's run, or a part of an image filled in."""

import argparse
import pathlib

from resgen_jax.cli import flags, inpainting, progress, run_directory, sampling, trained
from resgen_jax.core import errors
from resgen_jax.evaluation import pictures

PICTURE, ARRAYS = "samples.png", "samples.npz"
NUM_SAMPLES, NUM_FILLED_IN = 100, 8


def add_flags(parser: flags.Parser) -> None:
    """Which samples, how they are drawn, and where they go."""
    flags.add_workdir(parser, "run directory of a generator")
    parser.add_argument(
        "--num_samples", type=int, help=f"how many ({NUM_SAMPLES}; with --keep {NUM_FILLED_IN})"
    )
    parser.add_argument("--classes", help="names or numbers like 0,3 (all, in turn)")
    knobs = parser.add_argument_group("knobs, as in the run's config where not given")
    knobs.add_argument("--num_steps", type=int, help="network calls")
    knobs.add_argument("--guidance_scale", type=float, help="1 = off, above 1 sharpens")
    knobs.add_argument("--temperature", type=float, help="of the mixture's components, 1 = off")
    knobs.add_argument("--top_p", type=float, help="of the mixture's components, 1 = off")
    knobs.add_argument("--noise_scale", type=float, help="of the drawn vectors, 1 = off")
    knobs.add_argument("--order_noise", type=float, help="in what is revealed first, 0 = none")
    parser.add_argument("--seed", type=int, default=0, help="same seed, same samples (%(default)s)")
    parser.add_argument("--batch_size", type=int, default=100, help="at a time (%(default)s)")
    parser.add_argument("--tokenizer", metavar="DIR", help="its run directory, if it has moved")
    parser.add_argument("--output", metavar="DIR", help="where the results go (WORKDIR)")
    part = parser.add_argument_group("filling in a part of an image")
    part.add_argument("--keep", metavar="R0:R1,C0:C1", help="rows and columns of the grid to keep")
    part.add_argument("--keep_from", metavar="IMAGE", help="an image file, or held-out")


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Writes samples.png and samples.npz and says where they are."""
    del overrides
    workdir = flags.require(values, "workdir", "the generator's run directory", "runs/generator")
    if bool(values.keep) != bool(values.keep_from):
        given, missing = ("keep", "keep_from") if values.keep else ("keep_from", "keep")
        raise errors.UserError(
            f"--{given} needs --{missing} too, e.g. --keep=0:2,0:4 --keep_from=held-out"
        )
    flags.at_least("batch_size", values.batch_size, 1)
    count = values.num_samples
    if count is None:
        count = NUM_FILLED_IN if values.keep else NUM_SAMPLES
    flags.at_least("num_samples", count, 1)

    generator = trained.open_generator(workdir, progress.say)
    class_names = generator.meta.class_names
    spec = sampling.spec_with(
        generator.config, {name: getattr(values, name) for name in sampling.KNOBS}
    )
    chosen = sampling.parse_classes(values.classes, class_names)
    output = pathlib.Path(values.output or workdir)
    if values.keep:
        is_kept = inpainting.parse_region(values.keep, generator.meta.grid)
        tokenizer = trained.open_tokenizer_of(generator.meta, values.tokenizer, progress.say)
        prompts = inpainting.prompts(generator, tokenizer, values.keep_from, chosen, count)
        samples, picture = inpainting.fill_in(
            generator, tokenizer, spec, prompts, is_kept, values.seed, values.batch_size
        )
    else:
        labels = sampling.in_turn(chosen, len(class_names), count)
        tokenizer = trained.open_tokenizer_of(generator.meta, values.tokenizer, progress.say)
        samples = sampling.draw(generator, tokenizer, spec, labels, values.seed, values.batch_size)
        picture = pictures.samples(samples.images, samples.labels, class_names)
    run_directory.save_picture(output / PICTURE, picture)
    run_directory.save_arrays(
        output / ARRAYS, **samples._asdict(), class_names=list(class_names), seed=values.seed
    )
    progress.result(f"picture: {output / PICTURE}")
    progress.result(f"arrays:  {output / ARRAYS} (images, labels, codes)")
