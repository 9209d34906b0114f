"""What part of an image is seen: the crops of measuring, and the flips and crops of training."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from resgen_jax.core import build, errors

MAX_RESIZED = 2**26  # pixels of an image that is made larger as a whole


class View(NamedTuple):
    """One look at an image; without `kept`, the crop that the data's config names."""

    is_flipped: bool = False
    kept: float | None = None  # side of a square crop, as a share of the shorter side
    place: tuple[float, float] = (0.5, 0.5)  # where the crop lies: 0 left or top, 1 right or bottom


PLAIN = View()


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """Views drawn for training: flipped half of the time, and cropped to a share of the side.

    `random_crop` is the least and the greatest share of the shorter side that a square crop keeps,
    () for none; where the crop lies is uniform (guided-diffusion's random_crop_arr: 0.8, 1.0).
    """

    flip: bool = False
    random_crop: tuple[float, ...] = ()

    def __post_init__(self):
        shares = self.random_crop
        if shares and not (len(shares) == 2 and 0.0 < shares[0] <= shares[1] <= 1.0):
            raise errors.UserError(
                f"data.random_crop is {shares}; expected the least and the greatest share of the "
                f"shorter side that a crop keeps, e.g. 0.8,1.0, or nothing for no random crop"
            )

    @property
    def is_on(self) -> bool:
        """Whether any view but the plain one can be drawn."""
        return self.flip or bool(self.random_crop)

    def draw(self, rng: np.random.Generator) -> View:
        """A view; a flip or crop that is off does not change what is drawn for the other."""
        is_heads, share, x, y = rng.random() < 0.5, rng.random(), rng.random(), rng.random()
        if not self.random_crop:
            return View(self.flip and is_heads)
        least, greatest = self.random_crop
        return View(self.flip and is_heads, least + share * (greatest - least), (x, y))


def generator(*numbers: int) -> np.random.Generator:
    """Random numbers that depend on these numbers alone."""
    return np.random.default_rng([number % 2**63 for number in numbers])


def fixed(num_crops: int, flip: bool, random_crop: tuple[float, ...], record: int) -> list[View]:
    """The views under which record number `record` is cached: the plain one first.

    `num_crops` random crops follow; with `flip` each view is followed by its mirror image.
    """
    augmentation = Augmentation(random_crop=random_crop)
    chosen = [PLAIN]
    chosen += [augmentation.draw(generator(record, number)) for number in range(num_crops)]
    if flip:
        chosen = [view._replace(is_flipped=turned) for view in chosen for turned in (False, True)]
    return chosen


def center(image: Image.Image, image_size: int) -> Image.Image:
    """The central square, resized with antialiasing (bicubic)."""
    side = min(image.size)
    if image.size == (image_size, image_size):
        return image
    return _square(image, image_size, float(side), (0.5, 0.5))


def adm(image: Image.Image, image_size: int) -> Image.Image:
    """guided-diffusion's center_crop_arr, by which ImageNet is measured: halves, bicubic, crop."""
    while min(image.size) >= 2 * image_size:
        image = image.resize((image.width // 2, image.height // 2), Image.Resampling.BOX)
    scale = image_size / min(image.size)
    width, height = round(image.width * scale), round(image.height * scale)
    left, top = (width - image_size) // 2, (height - image_size) // 2
    if width * height <= MAX_RESIZED:
        image = image.resize((width, height), Image.Resampling.BICUBIC)
        return image.crop((left, top, left + image_size, top + image_size))
    # A long strip: the same pixels, without the parts that would be cut off.
    across, down = image.width / width, image.height / height
    box = (left * across, top * down, (left + image_size) * across, (top + image_size) * down)
    return image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box)


CROPS: Mapping[str, Callable[[Image.Image, int], Image.Image]] = {"center": center, "adm": adm}


def check_crop(name: str) -> None:
    """Raises UserError, naming the nearest, for a crop that is not known."""
    if name not in CROPS:
        raise errors.UserError(f"data.crop is {name!r}; {build.nearest(name, CROPS)}")


def least_side(view: View, image_size: int, crop: str) -> int:
    """How far the shorter side may shrink while decoding; 0 = not at all.

    Twice the size leaves the resize its work; ADM's crop is defined from the full image.
    """
    if view.kept is not None:
        return math.ceil(2 * image_size / view.kept)
    return 0 if crop == "adm" else 2 * image_size


def render(
    image: Image.Image, view: View, image_size: int, crop: str
) -> UInt8[np.ndarray, "h w c"]:
    """The pixels of an upright gray or RGB image, seen so."""
    if view.kept is None:
        seen = CROPS[crop](image, image_size)
    else:
        seen = _square(image, image_size, min(image.size) * view.kept, view.place)
    pixels = np.asarray(seen, np.uint8).reshape(image_size, image_size, -1)
    return np.array(pixels[:, ::-1] if view.is_flipped else pixels)


def _square(
    image: Image.Image, image_size: int, side: float, place: tuple[float, float]
) -> Image.Image:
    """The square of this side at this place, resized; the place need not be a whole pixel."""
    left, top = (image.width - side) * place[0], (image.height - side) * place[1]
    box = (left, top, min(left + side, image.width), min(top + side, image.height))
    return image.resize((image_size, image_size), Image.Resampling.BICUBIC, box=box)
