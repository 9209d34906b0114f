"""Measuring runs: a tokenizer's reconstructions by depth; of a generator, `evaluate_samples`."""

from typing import Any, cast

from resgen_jax.convert import weights
from resgen_jax.core import errors
from resgen_jax.data import sources, spread
from resgen_jax.evaluation import protocol
from resgen_jax.runs import (
    evaluate_files,
    evaluate_samples,
    evaluation_request,
    measuring,
    open_run,
    progress,
    reconstruct,
)


def reconstructions(request: evaluation_request.Request) -> dict[str, Any]:
    """PSNR, SSIM, LPIPS and rFID by depth on held-out images, and the use of the codes."""
    workdir = cast(str, request.workdir)
    tokenizer = open_run.open_tokenizer(workdir, progress.say)
    spec = tokenizer.config.data
    crop = request.crop or spec.crop
    dataset = reconstruct.measured_images(tokenizer, request.images, crop)
    source: sources.Source = dataset.held_out
    if request.num_images:
        source = spread.Spread(source, request.num_images)
    model, weights_of = tokenizer.model, {}
    lpips = None
    if measuring.has_lpips(request.weights, model.image_size):
        lpips = measuring.lpips_measure(request.weights)
        weights_of = weights.fingerprints(f"lpips_{measuring.LPIPS_BACKBONE}", request.weights)
    elif request.weights:
        progress.say("no LPIPS: its weights are not there, or the images are too small for it")
    extractor, compared, described = None, None, None
    if request.features == evaluate_files.ALL:
        raise errors.UserError("--features=all is for samples; name one network for a tokenizer")
    if request.features != "none" and (request.features or request.weights):
        extractor = evaluate_files.open_extractor(request)
        if request.reference:
            shape = (model.image_size, model.image_size, model.channels)
            # Cropped as the images are: another crop alone is a distance.
            read = evaluate_files.read_references(request, [extractor], shape, crop)
            compared, described = read[0]
        else:
            compared = measuring.reference_of(
                workdir,
                "held_out",
                dataset,
                extractor,
                num_images=request.num_images,
                batch_size=request.batch_size,
                num_threads=spec.num_threads,
                crop=crop,
            )
            described = {"what": protocol.REFERENCE_OF_RECONSTRUCTIONS, **compared.facts}
    measured = measuring.Reconstructions(
        tokenizer,
        source,
        batch_size=request.batch_size,
        depths=request.depths,
        extractor=extractor,
        compared=compared,
        lpips=lpips,
    )
    with progress.phase("reconstruct", measured.num_batches) as report:
        figures = measured.run(tokenizer, report, progress.say)
    by_depth = {
        measuring.NAMES.get(name, name): figures[f"{name}_by_depth"]
        for name in (key.removesuffix("_by_depth") for key in figures if key.endswith("_by_depth"))
    }
    return {
        "measured": "reconstructions",
        "workdir": request.workdir,
        "step": tokenizer.step,
        "images": {
            "num_images": figures["num_images"],
            "image_size": [model.image_size, model.image_size],
            "path": request.images or spec.path or spec.source,
            "crop": crop,
        },
        "metrics": {name: column[-1] for name, column in by_depth.items()},
        "depths": figures["depths"],
        "by_depth": by_depth,
        "usage_by_level": figures["usage_by_level"],
        "perplexity_by_level": figures["perplexity_by_level"],
        "codebook_size": figures["codebook_size"],
        "reference": described,
        "features": extractor and evaluate_files.describe(extractor),
        "lpips": weights_of,
    }


FORMS = {"tokenizer": reconstructions, "generator": evaluate_samples.generated}  # by role
