"""Images from files into one array, and arrays onto one sheet: for Python, not for the verbs."""

import math
import os
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import images as image_files
from resgen_jax.data import views
from resgen_jax.evaluation import grid, samples

Paths = str | os.PathLike | Iterable[str | os.PathLike]


def load_images(
    paths: Paths, image_size: int, *, channels: int = 3, crop: str = "center"
) -> Float32[np.ndarray, "n h w c"]:
    """The images of a folder (in the order of their names), of files, or of one, in [-1, 1].

    Each is resized and cropped to `image_size` by the crop of this name, in gray (1) or colour (3).
    Raises UserError, naming the file, for what is no image.
    """
    if image_size < 1 or channels not in image_files.MODES:
        raise errors.UserError(
            f"image_size is {image_size} and channels {channels}; expected at least 1 pixel and "
            "channels 1 (gray) or 3 (colour)"
        )
    views.check_crop(crop)
    pixels = [image_files.read(file, image_size, channels, crop) for file in _files(paths)]
    return image_files.to_unit(np.stack(pixels))


def save_grid(
    images: Any,
    path: str | os.PathLike,
    *,
    columns: int | None = None,
    names: Sequence[str] = (),
    title: str = "",
) -> pathlib.Path:
    """Writes one picture of all images "n h w c", float in [-1, 1] or uint8, row by row.

    `names` are of the rows; without `columns` it is about as wide as high. Gives the path.
    """
    pixels = _bytes(np.asarray(images))
    columns = columns or math.ceil(math.sqrt(len(pixels)))
    sheet = grid.image_grid(pixels, columns, row_names=tuple(map(str, names)), title=title)
    path = pathlib.Path(path).expanduser()
    if path.suffix.lower() not in Image.registered_extensions():
        raise errors.UserError(f"{path} names no format of pictures; call it {path.name}.png")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.save(path)
    except OSError as failure:
        raise errors.UserError(
            f"cannot write {path} ({errors.reason(failure)}); name another place"
        ) from failure
    return path


def _files(paths: Paths) -> list[pathlib.Path]:
    if not isinstance(paths, str | os.PathLike):
        files = [pathlib.Path(path).expanduser() for path in paths]
        if not files:
            raise errors.UserError("there are no paths; name a folder of images, or files")
        return files
    path = pathlib.Path(paths).expanduser()
    return samples.look_below(path).files if path.is_dir() else [path]


def _bytes(images: np.ndarray) -> UInt8[np.ndarray, "n h w c"]:
    """As uint8; UserError for what is no batch of images, or lies outside [-1, 1]."""
    if images.ndim != 4 or not len(images):
        raise errors.UserError(
            f"images have the shape {images.shape}; expected (n, height, width, channels) with at "
            "least one image; of one alone pass image[None]"
        )
    if images.dtype == np.uint8:
        return images
    if not np.issubdtype(images.dtype, np.floating):
        raise errors.UserError(f"images are {images.dtype}; expected uint8, or float in [-1, 1]")
    low, high = images.min(), images.max()
    if not (low >= -1 and high <= 1):  # false for NaN, too
        raise errors.UserError(
            f"images hold values from {low:g} to {high:g}; expected float in [-1, 1], or uint8"
        )
    return image_files.to_bytes(images.astype(np.float32))
