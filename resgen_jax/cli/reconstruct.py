"""`resgen reconstruct`: held-out images through the tokenizer, as a picture and as figures."""

import argparse

from resgen_jax.cli import flags
from resgen_jax.io import paths
from resgen_jax.runs import open_run, progress, reconstruct, remarks


def run(values: argparse.Namespace, overrides: flags.Overrides) -> None:
    """Prints the figures and where the picture is."""
    del overrides
    workdir = flags.require(values, "workdir", "the tokenizer's run directory", "runs/tokenizer")
    tokenizer = open_run.open_tokenizer(workdir, progress.say)
    figures = reconstruct.reconstruct(
        tokenizer, workdir, images=values.images, batch_size=values.batch_size
    )
    for level, psnr in enumerate(figures["psnr_by_depth"]):
        progress.result(
            f"depth {level + 1}: PSNR {psnr:.2f} dB, usage {figures['usage_by_level'][level]:.1%}, "
            f"perplexity {figures['perplexity_by_level'][level]:.1f} of {figures['codebook_size']}"
        )
    for remark in remarks.of_depths(figures["psnr_by_depth"]):
        progress.result(remark)
    progress.result(f"picture: {paths.of(workdir) / reconstruct.PICTURE}")
    progress.result(f"figures: {paths.of(workdir) / reconstruct.FIGURES}")
