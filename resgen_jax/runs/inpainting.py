"""Filling in a part of an image: which part is kept, and what it is kept from."""

import pathlib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from PIL import Image

from resgen_jax.core import errors, shell
from resgen_jax.data import images, spread
from resgen_jax.evaluation import grid
from resgen_jax.metrics import seams
from resgen_jax.runs import open_run, sampling

HELD_OUT = "held-out"
MAX_ROWS = 20


class Filled(NamedTuple):
    """Completed images, a picture of some beside what was kept of them, and how they fit."""

    samples: sampling.Samples
    picture: Image.Image
    figures: dict[str, Any]


class Prompts(NamedTuple):
    """Whole images as codes, and the class each is completed as."""

    codes: np.ndarray  # int32 "n l q"
    labels: np.ndarray  # int32 "n"


def parse_region(text: str, size: tuple[int, int]) -> np.ndarray:
    """ROW0:ROW1,COL0:COL1 as a bool "h w", True inside; an open end is the grid's.

    Raises UserError for what is no such text, reaches outside, or leaves nothing to do.
    """
    match = re.fullmatch(r"(\d*):(\d*),(\d*):(\d*)", text.replace(" ", ""))
    rows, columns = size
    example = f"--keep=0:{max(rows // 2, 1)},0:{columns}"
    if not match:
        raise errors.UserError(f"--keep is {text!r}; expected ROW0:ROW1,COL0:COL1, e.g. {example}")
    ends = [int(end) if end else None for end in match.groups()]
    top, bottom = ends[0] or 0, rows if ends[1] is None else ends[1]
    left, right = ends[2] or 0, columns if ends[3] is None else ends[3]
    if not (top < bottom <= rows and left < right <= columns):
        raise errors.UserError(
            f"--keep is {text!r}; expected rows and columns inside the latent grid of "
            f"{rows} x {columns}, e.g. {example}"
        )
    is_kept = np.zeros(size, bool)
    is_kept[top:bottom, left:right] = True
    if is_kept.all():
        raise errors.UserError(
            f"--keep={text} keeps the whole grid of {rows} x {columns}, so nothing is left to fill "
            f"in; keep less, e.g. {example}"
        )
    return is_kept


def prompts(
    generator: open_run.GeneratorRun,
    tokenizer: open_run.TokenizerRun,
    keep_from: str,
    chosen: Sequence[int] | None,
    count: int,
    moved_to: str | None = None,
) -> Prompts:
    """`count` held-out images as they were encoded, or one image file that many times.

    Where the generator's codes are not where they were, `moved_to` says it.
    """
    num_classes = len(generator.meta.class_names)
    if keep_from == HELD_OUT:
        source = spread.Spread(open_run.codes_of(generator, moved_to).held_out, count)
        found = np.stack([element["codes"] for element in source])
        labels = np.array([element["labels"] for element in source], np.int32)
        if chosen is not None:
            labels = sampling.in_turn(chosen, num_classes, len(labels))
        return Prompts(found, labels)
    if not pathlib.Path(keep_from).is_file():
        raise errors.UserError(
            f"--keep_from is {keep_from!r}; expected an image file, or {HELD_OUT}"
        )
    if chosen is None:
        raise errors.UserError(
            "--keep_from names an image, whose class is not known; say which to complete it as, "
            f"e.g. {shell.written('classes', generator.meta.class_names[0])}"
        )
    meta = generator.meta
    pixels = images.read(pathlib.Path(keep_from), meta.image_size, meta.channels)
    model = tokenizer.model
    encode = jax.jit(model.encode)
    found = encode(tokenizer.params, tokenizer.statistics, images.to_unit(pixels[None]))
    labels = sampling.in_turn(chosen, num_classes, count)
    return Prompts(np.repeat(np.asarray(found), count, axis=0), labels)


def fill_in(
    generator: open_run.GeneratorRun,
    tokenizer: open_run.TokenizerRun,
    spec: Any,
    prompts: Prompts,
    is_kept: np.ndarray,
    seed: int,
    batch_size: int,
) -> Filled:
    """Completes every image; shows up to MAX_ROWS of them, and measures all at the seam."""
    depth = generator.meta.space.codes.depth
    is_masked = np.repeat(~is_kept.reshape(-1, 1), depth, axis=1)
    samples = sampling.draw(
        generator,
        tokenizer,
        spec,
        prompts.labels,
        seed,
        batch_size,
        sampling.Prompt(prompts.codes, is_masked),
    )
    whole = sampling.decode_all(tokenizer, list(prompts.codes))
    chosen = spread.places(len(whole), MAX_ROWS)
    shown = prompts.codes[chosen]
    show = sampling.partial_decoder(tokenizer)
    kept = np.asarray(show(shown, np.broadcast_to(is_masked, shown.shape)))
    names = [str(generator.meta.class_names[label]) for label in prompts.labels[chosen]]
    picture = strip(whole[chosen], kept, samples.images[chosen], names)
    # Each image's kept part beside the next image's: what a generator does that does not look.
    others = np.where(is_masked, np.roll(prompts.codes, 1, axis=0), prompts.codes)
    strangers = None
    if np.any(others != prompts.codes):
        strangers = sampling.decode_all(tokenizer, list(others))
    return Filled(samples, picture, seam_figures(samples.images, whole, strangers, is_kept))


def seam_figures(
    made: np.ndarray, real: np.ndarray, strangers: np.ndarray | None, is_kept: np.ndarray
) -> dict[str, Any]:
    """Mean steps between pixels, in bytes, across the seam and elsewhere; see `metrics.seams`.

    Of the completed images, of the real ones as their own codes show them, and of `strangers`, the
    kept part of each beside a part of another. `agreement` is 1 for steps as real, 0 for those of
    strangers; None where the decoder hides the seam of strangers (of digits on black it does).
    """
    kinds = {"filled_in": made, "real": real}
    kinds |= {} if strangers is None else {"strangers": strangers}
    found: dict[str, Any] = {
        place: {name: float(measure(images, is_kept).mean()) for name, images in kinds.items()}
        for place, measure in (("seam", seams.across), ("elsewhere", seams.elsewhere))
    }
    if strangers is not None:
        seam = found["seam"]
        found["agreement"] = seams.agreement(seam["filled_in"], seam["real"], seam["strangers"])
    return found | {"num_images": len(made), "kept": is_kept.astype(int).tolist()}


def told(figures: dict[str, Any]) -> list[str]:
    """The figures at the seam in words."""
    names = {"filled_in": "filled in", "real": "real", "strangers": "another image's part"}
    lines = [
        f"steps {place}: "
        + ", ".join(f"{names[name]} {value:.2f}" for name, value in figures[place].items())
        for place in ("seam", "elsewhere")
    ]
    if "agreement" in figures:
        agreement = figures["agreement"]
        said = "not told: with another image's part the steps are no larger than real ones"
        if agreement is not None:
            said = f"{agreement:.2f} (1 as real, 0 as another image's part)"
        lines.append(f"agreement at the seam: {said}")
    return lines


def strip(
    whole: np.ndarray,
    kept: np.ndarray,
    made: np.ndarray,
    names: list[str],
    title: str = "Filled in",
) -> Image.Image:
    """A row of three for each image: as a whole, what is kept of it, and what it became."""
    rows = np.stack([whole, kept, made], axis=1)
    return grid.image_grid(
        rows.reshape(-1, *rows.shape[2:]),
        columns=3,
        row_names=names,
        column_names=["image", "kept", title.lower()],
        title=title,
        subtitle="The image as the tokenizer sees it,\nwhat the kept codes show, and the result.",
    )
