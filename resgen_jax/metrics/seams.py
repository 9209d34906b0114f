"""How well a filled-in part meets what was kept: steps from pixel to pixel across the seam."""

import numpy as np
from jaxtyping import Bool, Float, UInt8

from resgen_jax.core import errors

Images = UInt8[np.ndarray, "b h w c"]


def across(images: Images, is_kept: Bool[np.ndarray, "i j"]) -> Float[np.ndarray, "b"]:
    """Mean absolute step, in bytes, from a kept pixel to its neighbour that was filled in.

    `is_kept` is of the cells of a grid over the image. Real images have small steps there as
    anywhere; two parts that do not know each other have large ones. Raises UserError where the
    grid does not divide the image, or has no seam.
    """
    return _mean_step(images, is_kept, is_across=True)


def elsewhere(images: Images, is_kept: Bool[np.ndarray, "i j"]) -> Float[np.ndarray, "b"]:
    """Mean absolute step, in bytes, between neighbours that are not across the seam."""
    return _mean_step(images, is_kept, is_across=False)


def agreement(made: float, real: float, stranger: float) -> float | None:
    """1 where the steps across the seam are those of real images, 0 those of strangers' parts.

    `stranger` is of the same kept parts beside a part of another image. None where it is no worse
    than real, and says nothing.
    """
    return (stranger - made) / (stranger - real) if stranger > real else None


def _mean_step(images, is_kept, is_across: bool) -> np.ndarray:
    pixels = _of_pixels(is_kept, images.shape[1:3])
    values = images.astype(np.float64)
    total, count = np.zeros(len(images)), 0
    for axis in (0, 1):
        chosen = (np.diff(pixels.astype(int), axis=axis) != 0) == is_across
        steps = np.abs(np.diff(values, axis=axis + 1)).mean(axis=-1)
        total += steps[:, chosen].sum(axis=-1)
        count += int(chosen.sum())
    if not count:
        raise errors.UserError(
            f"there is no step to measure: of {is_kept.size} cells {int(is_kept.sum())} are kept; "
            "keep some and fill in others"
        )
    return total / count


def _of_pixels(is_kept: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Whether each pixel is kept."""
    scale, left_over = zip(*map(divmod, size, is_kept.shape), strict=True)
    if any(left_over):
        raise errors.UserError(
            f"a grid of {is_kept.shape} cells does not divide images of {size} pixels; give the "
            "grid of the tokenizer that made them"
        )
    return is_kept.repeat(scale[0], axis=0).repeat(scale[1], axis=1)
