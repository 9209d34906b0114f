"""Images under another class: a share of their codes is hidden and drawn anew."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from PIL import Image

from resgen_jax.core import errors, keys
from resgen_jax.data import spread
from resgen_jax.processes import rvq_masking
from resgen_jax.runs import inpainting, open_run, sampling


class Edited(NamedTuple):
    """The images that came of it, and a picture of some beside those that they were."""

    samples: sampling.Samples
    picture: Image.Image


def hidden(seed: int, count: int, length: int, depth: int, rate: float, masks: str) -> np.ndarray:
    """Bool "n l q": a share of each image's codes, as training hides that many of them.

    With the masks `coarse_first` these are fine levels, more of some positions than of others.
    Raises UserError for a share that is none or hides nothing.
    """
    if not 0 < rate <= 1:
        raise errors.UserError(
            f"--edit_rate is {rate}; expected above 0 (all is kept) and at most 1 (all is new)"
        )
    num_hidden = math.ceil(rate * length * depth - 1e-9)
    use = keys.named_keys(jax.random.key(seed), "edit")["edit"]
    cells = jax.vmap(
        lambda key: rvq_masking.sample_cells(key, jnp.int32(num_hidden), length, depth)
    )
    chosen = cells(keys.example_keys(use, jnp.arange(count)))
    return np.asarray(rvq_masking.MASKS[masks](chosen))


def edit(
    generator: open_run.GeneratorRun,
    tokenizer: open_run.TokenizerRun,
    spec: Any,
    prompts: inpainting.Prompts,
    rate: float,
    seed: int,
    batch_size: int,
) -> Edited:
    """Hides this share of the codes of every image, and draws it anew for the image's class."""
    count, length, depth = prompts.codes.shape
    # What draws one code after the other is asked for any of them.
    masks = getattr(spec, "masks", "coarse_first")
    is_masked = hidden(seed, count, length, depth, rate, masks)
    samples = sampling.draw(
        generator,
        tokenizer,
        spec,
        prompts.labels,
        seed,
        batch_size,
        sampling.Prompt(prompts.codes, is_masked),
    )
    chosen = spread.places(count, inpainting.MAX_ROWS)
    whole = sampling.decode_all(tokenizer, list(prompts.codes[chosen]))
    show = sampling.partial_decoder(tokenizer)
    kept = np.asarray(show(prompts.codes[chosen], is_masked[chosen]))
    names = [str(generator.meta.class_names[label]) for label in prompts.labels[chosen]]
    picture = inpainting.strip(whole, kept, samples.images[chosen], names, "Edited")
    return Edited(samples, picture)
