"""What a comparison's figures are worth: those of known images, measured as samples are."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import UInt8

from resgen_jax.data import images as image_files
from resgen_jax.data import sources, spread
from resgen_jax.evaluation import environment
from resgen_jax.runs import (
    evaluation_request,
    generated_samples,
    open_run,
    reconstruct,
    sampling,
)

REAL, REBUILT, MEAN = "held-out images", "their reconstructions", "their mean image"


def measure(request: evaluation_request.Request) -> dict[str, dict[str, Any]]:
    """By name, the figures of as many held-out images as samples are drawn, or of all.

    - the images themselves: what a perfect generator would score;
    - what their codes give back: a perfect generator of this tokenizer's codes;
    - their mean in place of each: a guesser.
    """
    models = generated_samples.open_models(request)
    compared = generated_samples.compare(request, models)
    held_out = generated_samples.images_of(request, models).held_out
    source = spread.Spread(held_out, request.num_samples)
    labels = np.array([held_out.label(number) for number in source.chosen])
    size = open_run.batch_for(models.tokenizer.mesh, request.batch_size, len(source))
    rebuild = _rebuilding(models.tokenizer)
    mean, no_codes = _mean(source), jnp.zeros((0, 0, 0), jnp.int32)

    def batches(images_of: Any) -> Iterator[sampling.Batch]:
        left = len(source)
        for rows in reconstruct.batches(models.tokenizer, source, size):
            yield sampling.Batch(images_of(rows["images"]), no_codes, min(size, left))
            left -= size

    known = {
        REAL: lambda images: images,
        REBUILT: rebuild,
        MEAN: lambda images: _put(models.tokenizer, np.broadcast_to(mean, images.shape)),
    }
    found = {}
    with jax.set_mesh(models.tokenizer.mesh):  # the quantizer bounds its memory by the device
        for name, images_of in known.items():
            collected = generated_samples.collect(compared, batches(images_of), len(source), name)
            found[name] = {
                "metrics": generated_samples.figures(request, compared, collected, labels),
                "hardware": environment.describe(),
            }
    return found


def _rebuilding(tokenizer: open_run.TokenizerRun) -> Any:
    """From images to what the codes of all levels give back, in bytes."""
    by_depth = reconstruct.reconstruct_by_depth(tokenizer.model, (tokenizer.model.depth,))

    @jax.jit
    def rebuild(variables, images):
        _, made = by_depth(variables, image_files.to_unit(images))
        return image_files.to_bytes(made[:, 0])

    return lambda images: rebuild((tokenizer.params, tokenizer.statistics), images)


def _put(tokenizer: open_run.TokenizerRun, images: np.ndarray) -> jax.Array:
    return open_run.put_rows(tokenizer.mesh, {"images": images})["images"]


def _mean(source: sources.Source | spread.Spread) -> UInt8[np.ndarray, "h w c"]:
    total = sum(np.asarray(source[row]["images"], np.float64) for row in range(len(source)))
    return np.round(total / len(source)).astype(np.uint8)
