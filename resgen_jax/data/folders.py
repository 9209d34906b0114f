"""Image files in a folder of class subfolders."""

import pathlib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int32

from resgen_jax.core import build, errors
from resgen_jax.data import fingerprints, images, patterns, records

Files = dict[str, list[pathlib.Path]]


class FolderImages:
    """Image files, read when asked for."""

    def __init__(self, paths: Sequence[pathlib.Path], labels: Int32[np.ndarray, "n"]):
        self.paths, self.labels = tuple(paths), labels

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
        """Of the files and their classes."""
        return fingerprints.digest([fingerprints.of_files(self.paths), self.labels.tobytes().hex()])


def open_folder(path: str, held_out_path: str) -> records.Split:
    """DIR/<class>/*, every tenth image held out; or DIR/train/<class>/* and DIR/val/<class>/*."""
    train_root, held_out_root = _roots(path, held_out_path)
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
            f"{train_root} holds {sum(map(len, train.values()))} images, too few to hold some out "
            f"for measuring; every class needs at least 2"
        )
    return records.Split(_images(train, class_names), _images(held_out, class_names), class_names)


def _roots(path: str, held_out_path: str) -> tuple[pathlib.Path, pathlib.Path | None]:
    for given in [path, held_out_path] if held_out_path else [path]:
        if not given or not pathlib.Path(given).expanduser().is_dir():
            raise errors.UserError(
                f"the image folder {given!r} is not a directory; set data.path to a folder that "
                f"holds one subfolder of images per class"
            )
    root = pathlib.Path(path).expanduser()
    if held_out_path:
        return root, pathlib.Path(held_out_path).expanduser()
    held_out_root = patterns.split_folders(root)
    return (root, None) if held_out_root is None else (root / "train", held_out_root)


def _images(files: Files, class_names: tuple[str, ...]) -> FolderImages:
    paths = [path for name in class_names for path in files.get(name, ())]
    labels = [label for label, name in enumerate(class_names) for _ in files.get(name, ())]
    return FolderImages(paths, np.array(labels, np.int32))


def _files_by_class(root: pathlib.Path) -> Files:
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
    """Hidden ones left out: copies that editors and file managers keep."""
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in images.SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
    )


def _hold_out(files: Files) -> tuple[Files, Files]:
    """Every tenth file of a class by name; of fewer than ten the last one, of one none."""
    train, held_out = {}, {}
    for name, paths in files.items():
        chosen = set(paths[records.HELD_OUT_EVERY - 1 :: records.HELD_OUT_EVERY])
        if not chosen and len(paths) > 1:
            chosen = {paths[-1]}
        train[name] = [path for path in paths if path not in chosen]
        held_out[name] = [path for path in paths if path in chosen]
    return train, held_out
