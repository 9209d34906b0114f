"""Images to be measured: an NPZ file as the ADM evaluator takes it, or a folder of files."""

import pathlib
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jaxtyping import UInt8

from resgen_jax.core import errors
from resgen_jax.data import images as image_data
from resgen_jax.data import walk
from resgen_jax.data.sources import Element
from resgen_jax.evaluation import archive
from resgen_jax.io import json_files, paths

KEYS = ("arr_0", "images")  # of the ADM evaluator, and of `resgen sample`
SAMPLER = "sampler"  # JSON: the settings by which the images were drawn
FOLDER_SEED = 0  # of the order of a folder's files
SHEETS = re.compile(r"samples(_adm)?(-[0-9]+)?\.png")  # of `resgen sample`, beside their arrays
SHOWN_ROWS = 64  # looked at to say what is wrong with an array


class ArrayImages:
    """Images of an array, which may lie on disk; gray ones as colour."""

    def __init__(self, pixels: UInt8[np.ndarray, "n h w c"]):
        self._pixels = pixels
        self.image_shape: tuple[int, ...] = (*pixels.shape[1:3], 3)

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> Element:
        index = int(index)
        pixels = np.broadcast_to(self._pixels[index], self.image_shape)
        return {"images": np.array(pixels), "index": np.int32(index)}

    def __repr__(self) -> str:
        return f"ArrayImages({len(self)} of {self.image_shape})"


class FileImages:
    """Image files in a shuffled order, in colour: as they are, or cropped to `image_size`."""

    def __init__(
        self, paths: Sequence[pathlib.Path], image_size: int | None = None, crop: str = "adm"
    ):
        # A folder's names sort by class, which would lower an inception score in file order.
        order = np.random.default_rng(FOLDER_SEED).permutation(len(paths))
        self._paths = [paths[index] for index in order]
        self._image_size, self._crop = image_size, crop
        self.image_shape: tuple[int, ...] = self._read(self._paths[0]).shape

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> Element:
        path = self._paths[int(index)]
        pixels = self._read(path)
        if pixels.shape != self.image_shape:
            raise errors.UserError(
                f"{path} is {_size(pixels.shape)} but {self._paths[0].name} is "
                f"{_size(self.image_shape)}; samples have to be of one size"
            )
        return {"images": pixels, "index": np.int32(index)}

    def __repr__(self) -> str:
        return f"FileImages({len(self)} of {self.image_shape})"

    def _read(self, path: pathlib.Path) -> np.ndarray:
        if self._image_size is not None:
            return image_data.read(path, self._image_size, 3, self._crop)
        try:
            with image_data.opened(path.read_bytes()) as image:
                return np.asarray(image_data.upright(image, 3))
        except MemoryError:
            raise
        except Exception as failure:  # decoders raise OSError, SyntaxError, struct.error, ...
            raise image_data.unreadable(str(path), failure) from failure


def open_images(
    path: str,
    image_size: int | None = None,
    crop: str = "adm",
    note: Callable[[str], None] = lambda text: None,
) -> ArrayImages | FileImages:
    """The images of an NPZ file or of all files below a folder, as `walk` finds them.

    A folder's are cropped to `image_size`, if given, by the crop of this name; an array's are taken
    as they are. `note` hears of what else lies in a folder. Raises UserError for anything but uint8
    "n h w 1" or "n h w 3".
    """
    place = pathlib.Path(paths.expanded(path))
    if not place.is_dir():
        held = archive.names(place)
        key = next((name for name in KEYS if name in held), KEYS[0])
        return of_array(archive.read(place, key), f"{key} of {place}")
    found = look_below(place)
    if left_out := walk.told(place, [found.left_out]):
        note(f"{place}: {len(found.files)} images{left_out}")
    return FileImages(found.files, image_size, crop)


def look_below(place: pathlib.Path) -> walk.Found:
    """What `walk` finds below a folder; UserError if that is no image, or one of many samples."""
    found = walk.find(place)
    sheets = [file for file in found.files if _is_sheet(file)]
    if sheets:
        sheet = min(sheets, key=lambda file: (len(file.name), file))  # earlier ones have a number
        raise errors.UserError(
            f"{sheet} is a picture of many samples, which are not images of their own; in place "
            f"of the folder name the file of their arrays, e.g. {sheet.with_suffix('.npz')}"
        )
    if not found.files:
        raise errors.UserError(
            f"{place} holds no images ({' '.join(image_data.SUFFIXES)}); name a folder of them, or "
            "an NPZ file"
        )
    return found


def _is_sheet(file: pathlib.Path) -> bool:
    return bool(SHEETS.fullmatch(file.name)) and file.with_suffix(".npz").is_file()


def sampler_of(path: str) -> dict[str, Any] | None:
    """How the images of an NPZ file were drawn, where it says so; None of a folder."""
    place = pathlib.Path(paths.expanded(path))
    if place.is_dir() or SAMPLER not in archive.names(place):
        return None
    try:
        settings = json_files.parse(str(archive.read(place, SAMPLER)))
    except ValueError:  # another program's array, which happens to have this name
        return None
    return settings if isinstance(settings, dict) else None


def of_array(pixels: np.ndarray, name: str) -> ArrayImages:
    """The array as images; `name` says in messages where it is from."""
    if pixels.ndim != 4 or pixels.shape[-1] not in (1, 3):
        raise errors.UserError(
            f"{name} has shape {pixels.shape}; expected images, rows, columns and colours, e.g. "
            "(50000, 256, 256, 3)"
        )
    if not pixels.size:
        raise errors.UserError(f"{name} is empty; expected at least one image")
    if pixels.dtype != np.uint8:
        raise errors.UserError(f"{name} {_seen(pixels[:SHOWN_ROWS])}")
    return ArrayImages(pixels)


def _seen(pixels: np.ndarray) -> str:
    """What is wrong with pixels that are not bytes, and how to make them bytes."""
    what = f"is {pixels.dtype}"
    if np.issubdtype(pixels.dtype, np.floating) and not np.isfinite(pixels).all():
        return f"{what} and holds NaN or infinity; expected uint8 from 0 to 255: draw it again"
    low, high = pixels.min(), pixels.max()
    return (
        f"{what} with values from {low:g} to {high:g}; expected uint8 from 0 to 255: shift, scale, "
        "round and cut off to 0..255, then save .astype('uint8')"
    )


def _size(shape: Sequence[int]) -> str:
    return f"{shape[0]} x {shape[1]}"
