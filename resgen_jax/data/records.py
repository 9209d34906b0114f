"""Encoded images by record number, whatever files they lie in, and how they become arrays."""

import typing
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Int, UInt8

from resgen_jax.core import errors
from resgen_jax.data import fingerprints, images, spread, views

Element = Mapping[str, np.ndarray | np.generic]
HELD_OUT_EVERY = 10
MOST_CLASSES = 2**20  # what is larger is no number of a class, and its names would fill the memory


class EncodedImage(NamedTuple):
    """The bytes of an image file, its class, and what errors call it."""

    encoded: bytes
    label: int
    name: str


@typing.runtime_checkable
class EncodedImages(Protocol):
    """Image files by number; may be read by many threads, and pickled."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> EncodedImage: ...

    def fingerprint(self) -> str:
        """Tells these images from others, wherever they lie, without reading them all."""


class Split(NamedTuple):
    """What the files of a dataset hold; classes have the names that the files give them."""

    train: EncodedImages
    held_out: EncodedImages
    class_names: tuple[str, ...]


class ImageSource:
    """Elements of decoded images; raises images.UnreadableImage for a bad one."""

    def __init__(self, records: EncodedImages, image_size: int, channels: int, crop: str):
        self.records = records
        self._image_size, self._channels, self._crop = image_size, channels, crop

    def __len__(self) -> int:
        return len(self.records)

    @property
    def left_out(self) -> str:
        """What lies beside the images, to stand behind their number; of files in a folder alone."""
        return getattr(self.records, "left_out", "")

    def __getitem__(self, index: int) -> Element:
        return self.view(index, views.PLAIN)

    def view(self, index: int, view: views.View) -> Element:
        """The element of this record seen so."""
        pixels, label = self.views(index, [view])
        return {"images": pixels[0], "labels": label, "index": np.int32(index)}

    def views(
        self, index: int, wanted: Sequence[views.View]
    ) -> tuple[UInt8[np.ndarray, "k h w c"], np.int32]:
        """Some views of one record, decoded once, and its label."""
        encoded, label, name = self.records[int(index)]
        pixels = images.read_views(
            encoded, name, wanted, self._image_size, self._channels, self._crop
        )
        return pixels, np.int32(label)

    def label(self, index: int) -> int:
        """The class of a record, not decoded."""
        return self.records[int(index)].label

    def fingerprint(self) -> str:
        """Tells these images, at this size, from others."""
        how = (self._image_size, self._channels, self._crop)
        return fingerprints.digest([self.records.fingerprint(), *map(str, how)])

    def __repr__(self) -> str:
        return f"ImageSource({len(self)} images)"


class Chosen:
    """Some of the records, under new numbers."""

    def __init__(self, records: EncodedImages, chosen: Int[np.ndarray, "n"]):
        self._records, self._chosen = records, chosen

    def __len__(self) -> int:
        return len(self._chosen)

    def __getitem__(self, index: int) -> EncodedImage:
        return self._records[int(self._chosen[index])]

    def fingerprint(self) -> str:
        """Tells these records from others."""
        return fingerprints.digest([self._records.fingerprint(), self._chosen.tobytes().hex()])


def hold_out(records: EncodedImages, where: str) -> tuple[Chosen, Chosen]:
    """Records to train on, and one of each ten held out; of fewer than ten one."""
    if len(records) < 2:
        raise errors.UserError(
            f"{where} holds {len(records)} images, too few to hold some out for measuring"
        )
    numbers = np.arange(len(records))
    chosen = spread.places(len(records), max(1, len(records) // HELD_OUT_EVERY))
    is_held_out = np.isin(numbers, chosen)
    return Chosen(records, numbers[~is_held_out]), Chosen(records, numbers[is_held_out])


def number_names(num_classes: int) -> tuple[str, ...]:
    """Names of classes of which only the numbers are known; UserError for absurdly many."""
    if num_classes > MOST_CLASSES:
        raise errors.UserError(
            f"there is a label {num_classes - 1}; expected numbers of classes, counted from 0"
        )
    return tuple(str(label) for label in range(num_classes))
