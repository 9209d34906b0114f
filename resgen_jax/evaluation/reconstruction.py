"""A tokenizer on held-out images: PSNR by depth, usage and perplexity of each level."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from resgen_jax.core import errors
from resgen_jax.data import images as image_data
from resgen_jax.metrics import pixels
from resgen_jax.quantizers import codebook

PyTree = Any
# variables, images "b h w c" in [-1, 1] -> codes "b l q", images of the first 1..q levels
Reconstruct = Callable[[PyTree, Array], tuple[Array, Array]]
MAX_PSNR = 100.0  # what an exact copy counts, so that a mean stays finite


class Sums(struct.PyTreeNode):
    """What the batches add up to."""

    num_images: Float[Array, ""]
    psnr: Float[Array, "q"]
    code_counts: Int[Array, "q v"]  # whole numbers stay exact beyond 2^24


def start(depth: int, codebook_size: int) -> Sums:
    """Sums of no images."""
    return Sums(
        num_images=jnp.zeros(()),
        psnr=jnp.zeros(depth),
        code_counts=jnp.zeros((depth, codebook_size), jnp.int32),
    )


def add(
    sums: Sums,
    images: Float[Array, "b h w c"],
    codes: Int[Array, "b l q"],
    reconstructions: Float[Array, "q b h w c"],
    is_valid: Bool[Array, "b"],
) -> Sums:
    """`sums` with one batch added; reconstructions are cut to [-1, 1], as a picture shows them."""
    psnr = jax.vmap(lambda level: pixels.psnr(level, images, value_range=2.0))(
        jnp.clip(reconstructions, -1.0, 1.0)
    )
    psnr = jnp.minimum(psnr, MAX_PSNR)
    is_counted = jnp.broadcast_to(is_valid[:, None], codes.shape[:2])
    counts = codebook.count_codes(codes, sums.code_counts.shape[-1], is_counted)
    return Sums(
        num_images=sums.num_images + jnp.sum(is_valid.astype(jnp.float32)),
        psnr=sums.psnr + jnp.sum(psnr, axis=1, where=is_valid[None, :]),
        code_counts=sums.code_counts + counts.astype(jnp.int32),
    )


def finish(sums: Sums) -> dict[str, Any]:
    """The figures, as plain numbers and lists; see `evaluate`."""
    counts = sums.code_counts.astype(jnp.float32)
    psnr = np.asarray(sums.psnr, np.float64) / float(sums.num_images)
    return {
        "psnr": float(psnr[-1]),
        "psnr_by_depth": psnr.tolist(),
        "usage_by_level": codebook.usage(counts).tolist(),
        "perplexity_by_level": codebook.perplexity(counts).tolist(),
        "codebook_size": counts.shape[1],
        "num_images": int(sums.num_images),
    }


def evaluate(
    reconstruct: Reconstruct,
    variables: PyTree,
    batches: Iterable[Mapping[str, Any]],
    *,
    depth: int,
    codebook_size: int,
) -> dict[str, Any]:
    """Measure `reconstruct(variables, images)` on batches of one size; compiled once.

    A batch holds `images` "b h w c", bytes or floats in [-1, 1], and `is_valid`, False in padding.

    - `psnr_by_depth`: mean over images of the PSNR in dB (value range 2, of [-1, 1]) with the first
      1, 2, ... levels; `psnr`: the last of them.
    - `usage_by_level`: share of the codebook that these images use.
    - `perplexity_by_level`: exp of the entropy of the codes, at most `codebook_size`.

    Raises UserError when there is no valid image.
    """

    @jax.jit
    def step(sums, variables, images, is_valid):
        if images.dtype == jnp.uint8:
            images = image_data.to_unit(images)
        codes, reconstructions = reconstruct(variables, images)
        return add(sums, images, codes, reconstructions, is_valid)

    sums = start(depth, codebook_size)
    for batch in batches:
        sums = step(sums, variables, batch["images"], batch["is_valid"])
    if not float(sums.num_images):
        raise errors.UserError("no held-out image to reconstruct; hold out at least one")
    return finish(sums)
