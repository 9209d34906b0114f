"""The pictures of a run: reconstructions by depth, images by class, unmasking, nearest ones."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, UInt8
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.evaluation import grid

MAX_CLASSES, MAX_DEPTHS, MAX_STEPS = 20, 16, 12  # rows or columns that a picture still bears


def reconstructions(
    originals: UInt8[np.ndarray, "n h w c"],
    by_depth: UInt8[np.ndarray, "q n h w c"],
    psnr_by_depth: grid.Numbers,
) -> Image.Image:
    """The originals on top, below them what the first 1, 2, ... levels give back.

    `psnr_by_depth` (dB) goes into the names of the rows; of more than 16 depths some are shown.
    """
    depth = len(by_depth)
    if len(psnr_by_depth) != depth:
        raise errors.UserError(
            f"{len(psnr_by_depth)} PSNR values for {depth} depths; give one each"
        )
    shown = grid.pick(depth, MAX_DEPTHS)
    names = [f"depth {level + 1}\nPSNR {psnr_by_depth[level]:.1f} dB" for level in shown]
    return grid.image_grid(
        np.concatenate([originals, *by_depth[np.array(shown)]]),
        columns=len(originals),
        row_names=["original", *names],
        title="Reconstructions",
        subtitle="Top: images held out from training. Below: rebuilt from the first codes\n"
        "of each position alone; every further depth adds detail.",
    )


def samples(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, "n"],
    class_names: Sequence[str],
    *,
    per_class: int = 10,
) -> Image.Image:
    """A row of up to `per_class` samples for each class that has any; of many classes 20 rows."""
    said = "New images, drawn by the generator for the class named on the left."
    return _by_class(images, labels, class_names, per_class, "Samples", said)


def real(
    images: UInt8[np.ndarray, "n h w c"],
    labels: Int[np.ndarray, "n"],
    class_names: Sequence[str],
    *,
    per_class: int = 10,
) -> Image.Image:
    """Training images laid out as `samples` are."""
    said = "Images that were trained on."
    return _by_class(images, labels, class_names, per_class, "Real images", said)


def nearest(
    images: UInt8[np.ndarray, "n h w c"],
    found: UInt8[np.ndarray, "n k h w c"],
    row_names: Sequence[str],
) -> Image.Image:
    """A row for each sample: itself, then the training images nearest to it."""
    rows = np.concatenate([images[:, None], found], axis=1)
    count = found.shape[1]
    return grid.image_grid(
        rows.reshape(-1, *images.shape[1:]),
        columns=1 + count,
        row_names=row_names,
        column_names=["sample", "nearest", *[str(number) for number in range(2, count + 1)]],
        title="Nearest training images",
        subtitle="Left: samples. Right of each: the training images\nwhose pixels differ least.",
    )


def _by_class(
    images: np.ndarray,
    labels: np.ndarray,
    class_names: Sequence[str],
    per_class: int,
    title: str,
    said: str,
) -> Image.Image:
    present = np.unique(labels)
    shown = present[grid.pick(len(present), MAX_CLASSES)]
    rows = [np.flatnonzero(labels == name)[:per_class] for name in shown]
    blank = np.full(images.shape[1:], 255, np.uint8)
    columns = max(len(row) for row in rows)
    tiles = [
        images[row[column]] if column < len(row) else blank
        for row in rows
        for column in range(columns)
    ]
    choice = "" if len(shown) == len(present) else f" {len(shown)} of {len(present)} classes shown."
    return grid.image_grid(
        np.stack(tiles),
        columns,
        row_names=[str(class_names[name]) for name in shown],
        title=title,
        subtitle=said + choice,
    )


def unmasking(
    by_step: UInt8[np.ndarray, "s n h w c"],
    share_revealed: grid.Numbers,
    row_names: Sequence[str] = (),
) -> Image.Image:
    """One row per example, one column per sampling step, headed by the share of known codes.

    `share_revealed` is in [0, 1], after each step; of more than 12 steps some are shown.
    """
    num_steps, num_examples = by_step.shape[:2]
    if len(share_revealed) != num_steps:
        raise errors.UserError(
            f"{len(share_revealed)} shares of revealed codes for {num_steps} steps; give one each"
        )
    shown = grid.pick(num_steps, MAX_STEPS)
    tiles = np.moveaxis(by_step[np.array(shown)], 0, 1)
    return grid.image_grid(
        tiles.reshape(num_examples * len(shown), *by_step.shape[2:]),
        columns=len(shown),
        row_names=row_names,
        column_names=[
            f"step {step + 1}\n{_percent(float(share_revealed[step]))}" for step in shown
        ],
        title="Unmasking",
        subtitle="What the decoder shows after each sampling step, "
        "and the share of codes known by then.",
    )


def _percent(share: float) -> str:
    percent = 100 * float(share)
    return f"{percent:.1f} %" if 0 < percent < 1 else f"{percent:.0f} %"
