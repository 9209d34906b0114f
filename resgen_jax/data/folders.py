"""Image files in a folder of class subfolders."""

import os
import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32

from resgen_jax.core import build, errors
from resgen_jax.data import fingerprints, images, patterns, records, walk
from resgen_jax.io import paths

Files = dict[str, list[pathlib.Path]]


class FolderImages:
    """Image files, read when asked for; `left_out` tells what lies beside them."""

    def __init__(
        self, paths: Sequence[pathlib.Path], labels: Int32[np.ndarray, "n"], left_out: str = ""
    ):
        self.paths, self.labels, self.left_out = tuple(paths), labels, left_out

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> records.EncodedImage:
        path = self.paths[index]
        try:
            encoded = path.read_bytes()
        except OSError as failure:
            raise images.unreadable(str(path), failure) from failure
        return records.EncodedImage(encoded, int(self.labels[index]), str(path))

    def fingerprint(self) -> str:
        """A digest of the files and their classes."""
        return fingerprints.digest([fingerprints.of_files(self.paths), self.labels.tobytes().hex()])


def open_folder(path: str, held_out_path: str) -> records.Split:
    """DIR/<class>/*, every tenth image held out; or DIR/train/<class>/* and DIR/val/<class>/*.

    Which folders of DIR are these is asked of `patterns`, which files are images of `walk`.
    """
    root, train_root, held_out_root = _roots(path, held_out_path)
    train, left_out = _files_by_class(train_root)
    held_out, parts = train, [left_out]
    if train_root != root:
        parts.append(walk.beside(root, [train_root, held_out_root or train_root]))
    if held_out_root is None:
        train, held_out = _hold_out(train)
    elif held_out_root != train_root:
        held_out, left_out = _files_by_class(held_out_root)
        parts.append(left_out)
    class_names = tuple(sorted(train))
    for name in held_out:
        if name not in train:
            raise errors.UserError(
                f"{held_out_root} has the class {name!r}, which {train_root} lacks; "
                f"{build.nearest(name, train)}"
            )
    if not any(held_out.values()):
        raise errors.UserError(
            f"{train_root} holds {sum(map(len, train.values()))} images, too few to hold some out "
            f"for measuring; every class needs at least 2"
        )
    told = walk.told(root, parts)
    inside, outside = (_images(part, class_names, told) for part in (train, held_out))
    return records.Split(inside, outside, class_names)


def _roots(path: str, held_out_path: str) -> tuple[pathlib.Path, pathlib.Path, pathlib.Path | None]:
    """What `path` names, and where the folders of the classes lie: to train on, and held out."""
    for given in [path, held_out_path] if held_out_path else [path]:
        if not given or not os.path.isdir(paths.expanded(given)):
            raise errors.UserError(
                f"the image folder {given!r} is not a directory; set data.path to a folder that "
                f"holds one subfolder of images per class"
            )
    root = pathlib.Path(paths.expanded(path))
    train, held_out = patterns.split_folders(root) or (patterns.lone_train_folder(root), None)
    return root, train, pathlib.Path(paths.expanded(held_out_path)) if held_out_path else held_out


def _images(files: Files, class_names: tuple[str, ...], left_out: str) -> FolderImages:
    chosen = [path for name in class_names for path in files.get(name, ())]
    labels = [label for label, name in enumerate(class_names) for _ in files.get(name, ())]
    return FolderImages(chosen, np.array(labels, np.int32), left_out)


def _files_by_class(root: pathlib.Path) -> tuple[Files, walk.LeftOut]:
    """Image files below each subfolder, sorted by name; those of no subfolder are left out."""
    found = walk.find(root)
    files: Files = {
        walk.class_name(folder.name): []
        for folder in walk.subfolders(root)
        if folder not in found.left_out.folders
    }
    num_loose = 0
    for path in found.files:
        folder, *inside = path.relative_to(root).parts
        if inside:
            files[walk.class_name(folder)].append(path)
        else:
            num_loose += 1
    if not any(files.values()):
        if num_loose:
            raise errors.UserError(
                f"{root} holds {num_loose} images but no subfolder with images; put each class's "
                f"images into a subfolder named after the class"
            )
        raise errors.UserError(
            f"{root} holds no images ({' '.join(images.SUFFIXES)}); give a folder with one "
            f"subfolder of images per class"
        )
    empty = [name for name, inside in files.items() if not inside]
    if empty:
        raise errors.UserError(
            f"{root / empty[0]} holds no images ({' '.join(images.SUFFIXES)}); fill it or remove it"
            + (f" (and {len(empty) - 1} more like it)" if len(empty) > 1 else "")
        )
    return files, found.left_out._replace(num_loose=num_loose)


def _hold_out(files: Files) -> tuple[Files, Files]:
    """Every tenth file of a class by name; of fewer than ten the last one, of one none."""
    train, held_out = {}, {}
    for name, inside in files.items():
        chosen = set(inside[records.HELD_OUT_EVERY - 1 :: records.HELD_OUT_EVERY])
        if not chosen and len(inside) > 1:
            chosen = {inside[-1]}
        train[name] = [path for path in inside if path not in chosen]
        held_out[name] = [path for path in inside if path in chosen]
    return train, held_out
