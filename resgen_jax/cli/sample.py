"""`resgen sample`: images by class from a generator's run, or a part of an image filled in."""

import argparse

from resgen_jax.cli import flags, sampler_flags
from resgen_jax.core import errors, shell
from resgen_jax.evaluation import pictures
from resgen_jax.io import paths
from resgen_jax.runs import inpainting, open_run, progress, run_directory, sample, sampling


def add_flags(parser: flags.Parser) -> None:
    """Which samples, how they are drawn, and where they go."""
    flags.add_workdir(parser, "run directory of a generator")
    parser.allow_buckets("workdir", "output", "tokenizer", "codes")
    parser.add_argument(
        "--num_samples",
        type=int,
        help=f"how many ({sample.NUM_SAMPLES}; with --keep {sample.NUM_FILLED_IN})",
    )
    parser.add_argument("--classes", help="names or numbers like 0,3 (all, in turn)")
    sampler_flags.add_labels(parser)
    sampler_flags.add(parser)
    parser.add_argument(
        "--seed", type=flags.seed, default=0, help="same seed, same samples (%(default)s)"
    )
    parser.add_argument("--batch_size", type=int, default=100, help="at a time (%(default)s)")
    parser.add_argument("--tokenizer", metavar="DIR", help="its run directory, if it has moved")
    parser.add_argument("--output", metavar="DIR", help="where the results go (WORKDIR)")
    parser.add_argument(
        "--npz",
        choices=("ours", sample.ADM),
        default="ours",
        help="adm: arr_0 in shuffled order, as the ADM evaluator takes it; any number fits memory",
    )
    part = parser.add_argument_group("filling in a part of an image")
    part.add_argument("--keep", metavar="R0:R1,C0:C1", help="rows and columns of the grid to keep")
    part.add_argument("--keep_from", metavar="IMAGE", help="an image file, or held-out")
    part.add_argument("--codes", metavar="DIR", help="where the run's codes lie, if they moved")


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Writes samples.png, samples.npz and with --keep seam.json, and says where they are."""
    del overrides
    workdir = flags.require(values, "workdir", "the generator's run directory", "runs/generator")
    if bool(values.keep) != bool(values.keep_from):
        given, missing = ("keep", "keep_from") if values.keep else ("keep_from", "keep")
        raise errors.UserError(
            f"--{given} needs --{missing} too, e.g. --keep=0:2,0:4 --keep_from=held-out"
        )
    if values.keep and values.npz == sample.ADM:
        raise errors.UserError("--npz=adm is for samples to be measured; leave out --keep")
    shell.at_least("batch_size", values.batch_size, 1)
    count = values.num_samples
    if count is None:
        count = sample.NUM_FILLED_IN if values.keep else sample.NUM_SAMPLES
    shell.at_least("num_samples", count, 1)
    output = paths.of(values.output or workdir)
    arrays = sample.ADM_ARRAYS if values.npz == sample.ADM else sample.ARRAYS
    names = (sample.PICTURE, arrays)
    run_directory.check_writable(output, *names, *([sample.SEAM] if values.keep else []))

    generator = open_run.open_generator(workdir, progress.say)
    class_names = generator.meta.class_names
    spec = sampling.spec_with(generator.config, sampler_flags.read(values))
    chosen = sampling.parse_classes(values.classes, class_names)
    if values.npz == sample.ADM:
        labels = sampling.labels_for(values.labels, chosen, len(class_names), count, values.seed)
        tokenizer = open_run.open_tokenizer_for(generator, values.tokenizer, progress.say)
        sample.write_adm(
            generator,
            tokenizer,
            spec,
            labels,
            output,
            seed=values.seed,
            batch_size=values.batch_size,
            kind=values.labels,
        )
        _say_adm(output)
        return
    if values.keep:
        is_kept = inpainting.parse_region(values.keep, generator.meta.grid)
        tokenizer = open_run.open_tokenizer_for(generator, values.tokenizer, progress.say)
        prompts = inpainting.prompts(
            generator, tokenizer, values.keep_from, chosen, count, values.codes
        )
        samples, picture, seam = inpainting.fill_in(
            generator, tokenizer, spec, prompts, is_kept, values.seed, values.batch_size
        )
        run_directory.write_json(output / sample.SEAM, seam)
        for line in inpainting.told(seam):
            progress.result(line)
    else:
        labels = sampling.labels_for(values.labels, chosen, len(class_names), count, values.seed)
        tokenizer = open_run.open_tokenizer_for(generator, values.tokenizer, progress.say)
        samples = sampling.draw(generator, tokenizer, spec, labels, values.seed, values.batch_size)
        picture = pictures.samples(samples.images, samples.labels, class_names)
    run_directory.save_picture(output / sample.PICTURE, picture)
    run_directory.save_arrays(
        output / sample.ARRAYS, **samples._asdict(), class_names=list(class_names), seed=values.seed
    )
    progress.result(f"picture: {output / sample.PICTURE}")
    progress.result(f"arrays:  {output / sample.ARRAYS} (images, labels, codes)")


def _say_adm(output: paths.Path) -> None:
    progress.result(f"picture: {output / sample.PICTURE}")
    progress.result(f"arrays:  {output / sample.ADM_ARRAYS} (arr_0, labels, order)")
    samples, where = output / sample.ADM_ARRAYS, ""
    if paths.is_remote(output):  # they are mapped into memory
        samples, where = sample.ADM_ARRAYS, " (on a copy of it)"
    progress.result(
        f"next:    resgen evaluate {shell.written('samples', samples)} --reference=FILE.npz{where}"
    )
