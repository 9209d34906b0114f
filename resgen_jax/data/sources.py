"""Labelled images by record number: scikit-learn's digits, or a folder of class subfolders."""

import dataclasses
import pathlib
import typing
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np
from jaxtyping import Int32, UInt8
from PIL import Image

from resgen_jax.core import build, errors
from resgen_jax.data import images

Element = Mapping[str, np.ndarray | np.generic]
HELD_OUT_EVERY = 10
HELD_OUT_FOLDERS = ("val", "valid", "validation", "test")


@typing.runtime_checkable
class Source(Protocol):
    """Random access to elements `{"images" or "codes", "labels", "index"}`."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Element: ...


class Dataset(NamedTuple):
    """Two sources with the same classes."""

    train: Source
    held_out: Source
    class_names: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Spec:
    """Which images, and how they are read.

    At most `max_unreadable` files are skipped in training; fewer than `min_classes` are refused.
    `batch_size` counts the images of all processes.
    """

    source: str
    image_size: int
    channels: int
    batch_size: int
    path: str = ""
    num_threads: int = 0
    max_unreadable: int = 0
    min_classes: int = 2

    def __post_init__(self):
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


def open_images(spec: Spec) -> Dataset:
    """The dataset that `spec.source` names."""
    openers = {"digits": _open_digits, "folder": _open_folder}
    if spec.source not in openers:
        raise errors.UserError(
            f"data.source is {spec.source!r}; {build.nearest(spec.source, openers)}"
        )
    dataset = openers[spec.source](spec)
    if len(dataset.class_names) < spec.min_classes:
        raise errors.UserError(
            f"{spec.path} has one class only ({dataset.class_names[0]!r}), too few to generate by "
            f"class; put each class's images into a subfolder of its own, or set "
            f"data.min_classes=1 for images of one kind"
        )
    return dataset


class ArraySource:
    """Images that fit in memory."""

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

    def __repr__(self) -> str:
        return f"ArraySource({len(self)} images)"


class FolderSource:
    """Image files, decoded when asked for; raises images.UnreadableImage for a bad one."""

    def __init__(
        self,
        paths: Sequence[pathlib.Path],
        labels: Int32[np.ndarray, "n"],
        image_size: int,
        channels: int,
    ):
        self.paths, self._labels = tuple(paths), labels
        self._image_size, self._channels = image_size, channels

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> Element:
        index = int(index)
        return {
            "images": images.read(self.paths[index], self._image_size, self._channels),
            "labels": self._labels[index],
            "index": np.int32(index),
        }

    def __repr__(self) -> str:
        return f"FolderSource({len(self)} files)"


class Spread:
    """At most `count` records of a source, evenly spread over it, with their own numbers."""

    def __init__(self, source: Source, count: int):
        self._source = source
        chosen = np.linspace(0, len(source) - 1, min(len(source), count))
        self.chosen: tuple[int, ...] = tuple(chosen.round().astype(int).tolist())

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Element:
        return self._source[self.chosen[int(index)]]

    def __repr__(self) -> str:
        return f"Spread({len(self)} of {self._source!r})"


def _open_digits(spec: Spec) -> Dataset:
    """1,797 handwritten digits, 8x8: 1,437 to train on, 360 held out, classes in proportion."""
    from sklearn import datasets, model_selection  # a second of import that only the demo needs

    digits = datasets.load_digits()
    pixels = np.round(digits.images * (255 / 16)).astype(np.uint8)
    pixels = np.stack(
        [images.fit(Image.fromarray(image), spec.image_size, spec.channels) for image in pixels]
    )
    labels = digits.target.astype(np.int32)
    train, held_out = model_selection.train_test_split(
        np.arange(len(labels)), test_size=360, stratify=labels, random_state=0
    )
    return Dataset(
        train=ArraySource(pixels[train], labels[train]),
        held_out=ArraySource(pixels[held_out], labels[held_out]),
        class_names=tuple(str(name) for name in digits.target_names),
    )


def _open_folder(spec: Spec) -> Dataset:
    """DIR/<class>/*, every tenth image held out; or DIR/train/<class>/* and DIR/val/<class>/*."""
    root = pathlib.Path(spec.path).expanduser()
    if not spec.path or not root.is_dir():
        raise errors.UserError(
            f"the image folder {spec.path!r} is not a directory; set data.path to a folder that "
            f"holds one subfolder of images per class"
        )
    train_root, held_out_root = _split_roots(root)
    train = _files_by_class(train_root)
    if held_out_root is None:
        train, held_out = _hold_out(train)
    else:
        held_out = _files_by_class(held_out_root)
    class_names = tuple(sorted(train))
    for name in held_out:
        if name not in train:
            raise errors.UserError(
                f"{held_out_root} has the class {name!r}, which {train_root} lacks; "
                f"{build.nearest(name, train)}"
            )
    if not any(held_out.values()):
        raise errors.UserError(
            f"{root} holds {sum(map(len, train.values()))} images, too few to hold some out for "
            f"measuring; every class needs at least 2"
        )
    return Dataset(
        train=_folder_source(train, class_names, spec),
        held_out=_folder_source(held_out, class_names, spec),
        class_names=class_names,
    )


def _folder_source(files, class_names: tuple[str, ...], spec: Spec) -> FolderSource:
    paths = [path for name in class_names for path in files.get(name, ())]
    labels = [label for label, name in enumerate(class_names) for _ in files.get(name, ())]
    return FolderSource(paths, np.array(labels, np.int32), spec.image_size, spec.channels)


def _split_roots(root: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path | None]:
    if (root / "train").is_dir():
        for name in HELD_OUT_FOLDERS:
            if (root / name).is_dir():
                return root / "train", root / name
    return root, None


def _files_by_class(root: pathlib.Path) -> dict[str, list[pathlib.Path]]:
    """Image files below each subfolder, sorted by name."""
    folders = sorted(
        path for path in root.iterdir() if path.is_dir() and not path.name.startswith(".")
    )
    files = {folder.name: _image_files(folder) for folder in folders}
    if not any(files.values()):
        num_loose = len(_image_files(root))
        if num_loose:
            raise errors.UserError(
                f"{root} holds {num_loose} images but no subfolder with images; put each class's "
                f"images into a subfolder named after the class"
            )
        raise errors.UserError(
            f"{root} holds no images ({' '.join(images.SUFFIXES)}); give a folder with one "
            f"subfolder of images per class"
        )
    empty = [name for name, paths in files.items() if not paths]
    if empty:
        raise errors.UserError(
            f"{root / empty[0]} holds no images; fill it or remove it"
            + (f" (and {len(empty) - 1} more like it)" if len(empty) > 1 else "")
        )
    return files


def _image_files(folder: pathlib.Path) -> list[pathlib.Path]:
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in images.SUFFIXES and not path.name.startswith(".")
    )


def _hold_out(files):
    """Every tenth file of a class by name; of fewer than ten the last one, of one none."""
    train, held_out = {}, {}
    for name, paths in files.items():
        chosen = set(paths[HELD_OUT_EVERY - 1 :: HELD_OUT_EVERY])
        if not chosen and len(paths) > 1:
            chosen = {paths[-1]}
        train[name] = [path for path in paths if path not in chosen]
        held_out[name] = [path for path in paths if path in chosen]
    return train, held_out
