"""A tokenizer on held-out images: what depth after depth gives back, and how codes are used."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

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
# variables, images "b h w c" in [-1, 1] -> codes "b l q", images "b p h w c" of p depths
Reconstruct = Callable[[PyTree, Array], tuple[Array, Array]]
# uint8 images "b h w c", uint8 reconstructions "b p h w c", is_valid "b", all on the devices
See = Callable[[Array, Array, Array], None]
MAX_PSNR = 100.0  # what an exact copy counts, so that a mean stays finite
VALUE_RANGE = 2.0  # images lie in [-1, 1]


class Measure(NamedTuple):
    """A measure of images against their originals, both in [-1, 1], one figure each."""

    function: Callable[[PyTree, Array, Array], Array]  # params, images, originals -> "b"
    params: PyTree = ()


class Sums(struct.PyTreeNode):
    """What the batches add up to."""

    num_images: Float[Array, ""]
    num_bad: Int[Array, ""]  # images of which some reconstruction is not finite
    measures: dict[str, Float[Array, "p"]]
    code_counts: Int[Array, "q v"]  # whole numbers stay exact beyond 2^24


def psnr(
    params: PyTree, images: Float[Array, "b h w c"], originals: Float[Array, "b h w c"]
) -> Float[Array, "b"]:
    """PSNR in dB, of an exact copy 100."""
    del params
    return jnp.minimum(pixels.psnr(images, originals, value_range=VALUE_RANGE), MAX_PSNR)


def ssim(
    params: PyTree, images: Float[Array, "b h w c"], originals: Float[Array, "b h w c"]
) -> Float[Array, "b"]:
    """SSIM, each colour by itself, on [0, 2]."""
    del params
    return pixels.ssim(images + 1, originals + 1, value_range=VALUE_RANGE)


PSNR = {"psnr": Measure(psnr)}


def measures_for(image_size: int) -> dict[str, Measure]:
    """PSNR, and SSIM where the images hold one of its windows."""
    has_window = image_size >= pixels.SSIM_SIDE
    return PSNR | ({"ssim": Measure(ssim)} if has_window else {})


def add(
    sums: Sums,
    measures: Mapping[str, Measure],
    images: Float[Array, "b h w c"],
    codes: Int[Array, "b l q"],
    reconstructions: Float[Array, "b p h w c"],
    is_valid: Bool[Array, "b"],
) -> Sums:
    """`sums` with one batch added; reconstructions are cut to [-1, 1], as a picture shows them."""
    is_bad = ~jnp.all(jnp.isfinite(reconstructions), axis=(1, 2, 3, 4))
    num_depths = reconstructions.shape[1]
    # All depths in one batch: loops over convolutions are slow on a CPU.
    flat = jnp.clip(reconstructions, -1.0, 1.0).reshape(-1, *images.shape[1:])
    originals = jnp.repeat(images, num_depths, axis=0)
    found = {}
    for name, measure in measures.items():
        values = measure.function(measure.params, flat, originals).reshape(-1, num_depths)
        found[name] = sums.measures[name] + jnp.sum(values, axis=0, where=is_valid[:, None])
    is_counted = jnp.broadcast_to(is_valid[:, None], codes.shape[:2])
    counts = codebook.count_codes(codes, sums.code_counts.shape[-1], is_counted)
    return Sums(
        num_images=sums.num_images + jnp.sum(is_valid.astype(jnp.float32)),
        num_bad=sums.num_bad + jnp.sum((is_bad & is_valid).astype(jnp.int32)),
        measures=found,
        code_counts=sums.code_counts + counts.astype(jnp.int32),
    )


def finish(sums: Sums) -> dict[str, Any]:
    """The figures, as plain numbers and lists; see `Evaluation.run`."""
    counts = sums.code_counts.astype(jnp.float32)
    figures: dict[str, Any] = {}
    for name, total in sums.measures.items():
        values = np.asarray(total, np.float64) / float(sums.num_images)
        figures |= {name: float(values[-1]), f"{name}_by_depth": values.tolist()}
    return figures | {
        "usage_by_level": codebook.usage(counts).tolist(),
        "perplexity_by_level": codebook.perplexity(counts).tolist(),
        "codebook_size": counts.shape[1],
        "num_images": int(sums.num_images),
    }


class Evaluation:
    """Measures `reconstruct(variables, images)`; compiled once, however often it is run.

    `num_depths` is how many reconstructions there are of an image, where not one for each level.
    """

    def __init__(
        self,
        reconstruct: Reconstruct,
        *,
        depth: int,
        codebook_size: int,
        num_depths: int | None = None,
        measures: Mapping[str, Measure] = PSNR,
    ):
        functions = {name: measure.function for name, measure in measures.items()}
        self._params = {name: measure.params for name, measure in measures.items()}
        self._start = lambda: start(measures, num_depths or depth, depth, codebook_size)

        def step(sums, variables, params, images, is_valid):
            if images.dtype == jnp.uint8:
                images = image_data.to_unit(images)
            codes, made = reconstruct(variables, images)
            bound = {name: Measure(functions[name], params[name]) for name in functions}
            sums = add(sums, bound, images, codes, made, is_valid)
            return sums, image_data.to_bytes(images), image_data.to_bytes(made)

        self._step = jax.jit(step)

    def run(
        self, variables: PyTree, batches: Iterable[Mapping[str, Any]], see: See | None = None
    ) -> dict[str, Any]:
        """The figures of batches of one size, each of which is shown to `see` as bytes.

        A batch holds `images` "b h w c", bytes or floats in [-1, 1], and `is_valid`, False in
        padding.

        - `psnr_by_depth`: mean over images of the PSNR in dB (value range 2, of [-1, 1]) of each
          reconstruction; `psnr`: the last of them. So for every measure.
        - `usage_by_level`: share of the codebook that these images use.
        - `perplexity_by_level`: exp of the entropy of the codes, at most `codebook_size`.

        Raises UserError when there is no valid image, or one whose reconstruction is not finite.
        """
        sums = self._start()
        for batch in batches:
            is_valid = batch["is_valid"]
            sums, originals, made = self._step(
                sums, variables, self._params, batch["images"], is_valid
            )
            if see is not None:
                see(originals, made, is_valid)
        if not float(sums.num_images):
            raise errors.UserError("no held-out image to reconstruct; hold out at least one")
        if num_bad := int(sums.num_bad):
            raise errors.UserError(
                f"the reconstructions of {num_bad} of {int(sums.num_images)} images hold NaN or "
                "infinity; the tokenizer has diverged: train again, with a lower learning rate"
            )
        return finish(sums)


def evaluate(
    reconstruct: Reconstruct,
    variables: PyTree,
    batches: Iterable[Mapping[str, Any]],
    *,
    see: See | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """One run of an `Evaluation` with these settings."""
    return Evaluation(reconstruct, **settings).run(variables, batches, see)


def start(measures: Iterable[str], num_depths: int, depth: int, codebook_size: int) -> Sums:
    """Sums of no images."""
    return Sums(
        num_images=jnp.zeros(()),
        num_bad=jnp.zeros((), jnp.int32),
        measures={name: jnp.zeros(num_depths) for name in measures},
        code_counts=jnp.zeros((depth, codebook_size), jnp.int32),
    )


def check_depths(depths: tuple[int, ...], depth: int) -> tuple[int, ...]:
    """The depths asked for in order, or all; UserError for one that the codes do not have."""
    if not depths:
        return tuple(range(1, depth + 1))
    for asked in depths:
        if not 1 <= asked <= depth:
            raise errors.UserError(
                f"--depths names {asked}, but the codes have depths 1 to {depth}"
            )
    return tuple(sorted(set(depths)))


def decode_depths(
    decode: Callable[[Array], Array], sums: Float[Array, "b l q c"], depths: tuple[int, ...]
) -> Float[Array, "b p h w c2"]:
    """Images of the first 1, 2, ... levels as one batch, from the sums of their vectors."""
    chosen = jnp.moveaxis(sums[:, :, np.array(depths) - 1], -2, 1)
    images = decode(chosen.reshape(-1, *chosen.shape[2:]))
    return images.reshape(-1, len(depths), *images.shape[1:])
