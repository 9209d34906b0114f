"""Which files a path means: a directory, a glob, or a name with {000..009} and {a,b} in it."""

import glob
import os
import pathlib
import re
from collections.abc import Iterable, Sequence

from resgen_jax.core import errors
from resgen_jax.data import walk
from resgen_jax.io import paths

TRAIN_NAMES = ("train", "training")
HELD_OUT_NAMES = ("val", "valid", "validation", "test", "testing")
BRACES = re.compile(r"\{([^{}]*)\}")
NUMBERS = re.compile(r"(\d{1,18})\.\.(\d{1,18})")
MOST_WORDS = 2**16  # files of one pattern


def split_files(
    path: str, held_out_path: str, suffixes: Sequence[str], kind: str
) -> tuple[list[pathlib.Path], list[pathlib.Path] | None]:
    """Files to train on and files held out, the latter None where nothing tells them apart.

    `held_out_path` says it; else a directory does, by subdirectories train/ and val/ or by file
    names that begin with train and val (or valid, validation, test), in any case. A subdirectory
    train/ alone holds all there is. Raises UserError, naming the place, where there are no such
    files.
    """
    if not path:
        raise errors.UserError(
            f"data.path is empty; set it to a directory of {kind} ({' '.join(suffixes)}), or to a "
            f"pattern such as DIR/train-{{000..009}}{suffixes[0]}"
        )
    if held_out_path:
        return find(path, suffixes, kind), find(held_out_path, suffixes, kind)
    root = pathlib.Path(paths.expanded(path))
    folders = split_folders(root)
    if folders is not None:
        train, held_out = (_in_folder(folder, suffixes) for folder in folders)
        return _some(train, folders[0], suffixes, kind), _some(held_out, folders[1], suffixes, kind)
    if not root.is_dir():
        return find(path, suffixes, kind), None
    train_folder = _named(walk.subfolders(root), TRAIN_NAMES)
    files = _in_folder(root, suffixes)
    if not files and train_folder is not None:
        files = _in_folder(train_folder, suffixes)
    return _split_by_name(_some(files, root, suffixes, kind))


def _split_by_name(
    files: list[pathlib.Path],
) -> tuple[list[pathlib.Path], list[pathlib.Path] | None]:
    names = [file.name.lower() for file in files]
    train = [file for file, name in zip(files, names, strict=True) if name.startswith("train")]
    # Of validation and test, both there, the first word in the list is the one.
    for word in HELD_OUT_NAMES:
        held_out = [file for file, name in zip(files, names, strict=True) if name.startswith(word)]
        if train and held_out:
            return train, held_out
    return files, None


def split_folders(root: pathlib.Path) -> tuple[pathlib.Path, pathlib.Path] | None:
    """The folders in `root` of what is trained on and what is held out, if there are both."""
    folders = walk.subfolders(root)
    train = _named(folders, TRAIN_NAMES)
    held_out = None if train is None else _named(folders, HELD_OUT_NAMES)
    return None if train is None or held_out is None else (train, held_out)


def lone_train_folder(root: pathlib.Path) -> pathlib.Path:
    """The folder of what is trained on where `root` holds no other, and it folders; else `root`."""
    folders = walk.subfolders(root)
    train = _named(folders, TRAIN_NAMES)
    if train is None or folders != [train] or not walk.subfolders(train):
        return root
    return train


def _named(folders: Sequence[pathlib.Path], names: Sequence[str]) -> pathlib.Path | None:
    """The folder of the first of these names that there is, written in any case."""
    for name in names:
        found = [folder for folder in folders if folder.name.lower() == name]
        if len(found) > 1:
            raise errors.UserError(
                f"{found[0].parent} holds {' and '.join(folder.name for folder in found)}; rename "
                f"all but one, or set data.path and data.held_out_path"
            )
        if found:
            return found[0]
    return None


def find(path: str, suffixes: Sequence[str], kind: str) -> list[pathlib.Path]:
    """The files that `path` means, sorted; UserError if there are none or one is missing.

    What is there under this very name is meant, whatever brackets and braces are in it: so far as
    folders are there it is no pattern.
    """
    there, rest = _literal(paths.expanded(path))
    files: list[pathlib.Path] = []
    for word in expand(rest):
        place = there / word
        if place.is_dir():
            found = _in_folder(place, suffixes)
        elif place.is_file():
            found = [place]
        else:
            found = [file for file in _matching(place) if file.name.endswith(tuple(suffixes))]
        files += _some(found, place, suffixes, kind)
    return files


def _literal(path: str) -> tuple[pathlib.Path, str]:
    """The longest beginning of `path` that is there, and what is left of it."""
    parts = pathlib.PurePath(path).parts
    for count in range(len(parts), 0, -1):
        there = os.path.join(*parts[:count])
        if os.path.exists(there):
            return pathlib.Path(there), os.path.join("", *parts[count:])
    return pathlib.Path(), os.path.join("", *parts)


def _matching(place: pathlib.Path) -> list[pathlib.Path]:
    there, rest = _literal(str(place))
    if not glob.has_magic(rest):
        return []
    return sorted(there / file for file in glob.glob(rest, root_dir=there))


def _in_folder(folder: pathlib.Path, suffixes: Sequence[str]) -> list[pathlib.Path]:
    return sorted(
        file
        for file in folder.iterdir()
        if file.name.endswith(tuple(suffixes)) and not file.name.startswith(".")
    )


def _some(
    found: list[pathlib.Path], place: pathlib.Path, suffixes: Sequence[str], kind: str
) -> list[pathlib.Path]:
    if not found:
        raise errors.UserError(
            f"{place} holds no {kind} ({' '.join(suffixes)}); give a directory of them, a file, or "
            f"a pattern such as DIR/train-{{000..009}}{suffixes[0]}"
        )
    return found


def expand(pattern: str) -> list[str]:
    """`a{00..02}` as a00, a01, a02 and `{x,y}` as x, y, as shells do; other braces stay.

    Raises UserError for a pattern of more than MOST_WORDS files.
    """
    for match in BRACES.finditer(pattern):
        words = _words(match.group(1))
        if words is not None:
            head, tail = pattern[: match.start()], pattern[match.end() :]
            found: list[str] = []
            for word in words:
                found += expand(head + word + tail)
                if len(found) > MOST_WORDS:
                    raise errors.UserError(
                        f"{pattern!r} stands for more than {MOST_WORDS} files; name their directory"
                    )
            return found
    return [pattern]


def _words(inside: str) -> Iterable[str] | None:
    numbers = NUMBERS.fullmatch(inside)
    if not numbers:
        return inside.split(",") if "," in inside else None
    ends = numbers.groups()
    first, last = map(int, ends)
    is_padded = any(end[0] == "0" and len(end) > 1 for end in ends)
    width = max(map(len, ends)) if is_padded else 1
    step = 1 if first <= last else -1
    return (f"{number:0{width}d}" for number in range(first, last + step, step))
