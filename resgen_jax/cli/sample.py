"""`resgen sample`: images by class from a generator's run, or a part of an image filled in."""

import argparse

from resgen_jax.cli import flags, sampler_flags
from resgen_jax.cli.sample_flags import ADM, NUM_FILLED_IN, NUM_SAMPLES
from resgen_jax.core import errors, shell
from resgen_jax.evaluation import pictures
from resgen_jax.io import paths
from resgen_jax.runs import (
    editing,
    guiding,
    inpainting,
    open_run,
    progress,
    run_directory,
    sample,
    sample_files,
    sampling,
    watching,
)

# What goes with a flag that needs another one.
EXAMPLES = {
    "keep": "e.g. --keep=0:2,0:4 --keep_from=held-out",
    "edit_rate": "e.g. --edit_rate=0.5 --keep_from=held-out --classes=3",
}


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Writes samples.png, samples.npz and with --keep seam.json, and says where they are.

    Other samples that lie there already are kept under other names.
    """
    del overrides
    workdir = flags.require(values, "workdir", "the generator's run directory", "runs/generator")
    changes = _changes(values)
    shell.at_least("batch_size", values.batch_size, 1)
    count = values.num_samples
    if count is None:
        count = NUM_FILLED_IN if changes else NUM_SAMPLES
    shell.at_least("num_samples", count, 1)
    output = paths.of(values.output or workdir)
    files = (sample_files.adm if values.npz == ADM else sample_files.ours)(output)
    run_directory.check_writable(output, *files.names)

    generator = open_run.open_generator(workdir, progress.say)
    class_names = generator.meta.class_names
    spec = sampling.spec_with(generator.config, sampler_flags.read(values))
    settings = sample.settings_of(generator, spec, values.seed, values.labels, values.guide)
    chosen = sampling.parse_classes(values.classes, class_names)
    tokenizer = open_run.open_tokenizer_for(generator, values.tokenizer, progress.say)
    generator = guiding.guided(generator, values.guide, progress.say)
    if changes:
        change = {"keep": _fill_in, "edit_rate": _edit}[changes]
        change(generator, tokenizer, spec, chosen, count, values, files, settings)
        return
    labels = sampling.labels_for(values.labels, chosen, len(class_names), count, values.seed)
    if values.npz == ADM:
        size = values.batch_size
        sample.write_adm(
            generator, tokenizer, spec, labels, files, settings=settings, batch_size=size
        )
        _say_adm(files)
        return
    how, states = (generator, tokenizer, spec, labels, values.seed, values.batch_size), None
    if values.states:
        states = watching.watch(*how)
        samples = sampling.Samples(states.images[-1], labels, states.codes[-1])
    else:
        samples = sampling.draw(*how)
    picture = pictures.samples(samples.images, samples.labels, class_names)
    sample.write(files, samples, picture, class_names, settings, states=states)
    _say(files)
    if states is not None:
        progress.result(f"states:  {output / sample_files.STATES} (images, codes, is_masked)")


def _changes(values: argparse.Namespace) -> str | None:
    """How images are changed: the flag that says it, or None for new ones.

    Raises UserError for flags that exclude or need each other.
    """
    asked = [name for name in ("keep", "edit_rate") if getattr(values, name) is not None]
    if len(asked) > 1:
        raise errors.UserError("--keep and --edit_rate exclude each other; leave out one")
    if asked and not values.keep_from:
        raise errors.UserError(f"--{asked[0]} needs --keep_from too, {EXAMPLES[asked[0]]}")
    if values.keep_from and not asked:
        raise errors.UserError(f"--keep_from needs --keep too, {EXAMPLES['keep']}")
    if asked and values.npz == ADM:
        raise errors.UserError(f"--npz=adm is for samples to be measured; leave out --{asked[0]}")
    if values.states and (asked or values.npz == ADM):
        other = asked[0] if asked else "npz=adm"
        raise errors.UserError(f"--states is for new samples in our form; leave out --{other}")
    return asked[0] if asked else None


def _fill_in(generator, tokenizer, spec, chosen, count, values, files, settings) -> None:
    is_kept = inpainting.parse_region(values.keep, generator.meta.space.layout)
    prompts = inpainting.prompts(
        generator, tokenizer, values.keep_from, chosen, count, values.codes
    )
    samples, picture, seam = inpainting.fill_in(
        generator, tokenizer, spec, prompts, is_kept, values.seed, values.batch_size
    )
    sample.write(files, samples, picture, generator.meta.class_names, settings, seam)
    for line in inpainting.told(seam):
        progress.result(line)
    _say(files)


def _edit(generator, tokenizer, spec, chosen, count, values, files, settings) -> None:
    prompts = inpainting.prompts(
        generator, tokenizer, values.keep_from, chosen, count, values.codes
    )
    settings = settings | {"edit_rate": values.edit_rate}
    samples, picture = editing.edit(
        generator, tokenizer, spec, prompts, values.edit_rate, values.seed, values.batch_size
    )
    sample.write(files, samples, picture, generator.meta.class_names, settings)
    _say(files)


def _say(files: sample_files.Files) -> None:
    progress.result(f"picture: {files.output / files.picture}")
    progress.result(f"arrays:  {files.output / files.arrays} (images, labels, codes)")


def _say_adm(files: sample_files.Files) -> None:
    output = files.output
    progress.result(f"picture: {output / files.picture}")
    progress.result(f"arrays:  {output / files.arrays} (arr_0, labels, order)")
    samples, where = output / files.arrays, ""
    if paths.is_remote(output):  # they are mapped into memory
        samples, where = files.arrays, " (on a copy of it)"
    progress.result(
        f"next:    resgen evaluate {shell.written('samples', samples)} --reference=FILE.npz{where}"
    )
