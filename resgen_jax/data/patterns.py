"""Which files a path means: a directory, a glob, or a name with {000..009} and {a,b} in it."""

import glob
import pathlib
import re
from collections.abc import Sequence

from resgen_jax.core import errors

HELD_OUT_NAMES = ("val", "valid", "validation", "test")
BRACES = re.compile(r"\{([^{}]*)\}")
NUMBERS = re.compile(r"(\d+)\.\.(\d+)")


def split_files(
    path: str, held_out_path: str, suffixes: Sequence[str], kind: str
) -> tuple[list[pathlib.Path], list[pathlib.Path] | None]:
    """Files to train on and files held out, the latter None where nothing tells them apart.

    `held_out_path` says it; else a directory does, by subdirectories train/ and val/ or by file
    names that begin with train and val (or valid, validation, test).
    Raises UserError, naming the place, where there are no such files.
    """
    if not path:
        raise errors.UserError(
            f"data.path is empty; set it to a directory of {kind} ({' '.join(suffixes)}), or to a "
            f"pattern such as DIR/train-{{000..009}}{suffixes[0]}"
        )
    if held_out_path:
        return find(path, suffixes, kind), find(held_out_path, suffixes, kind)
    root = pathlib.Path(path).expanduser()
    held_out_folder = split_folders(root)
    if held_out_folder is not None:
        inside = [str(root / "train"), str(held_out_folder)]
        return find(inside[0], suffixes, kind), find(inside[1], suffixes, kind)
    files = find(path, suffixes, kind)
    if root.is_dir():
        train = [file for file in files if file.name.startswith("train")]
        held_out = [file for file in files if file.name.startswith(HELD_OUT_NAMES)]
        if train and held_out:
            # Of validation and test, both there, the first word in the list is the one.
            word = next(
                word for word in HELD_OUT_NAMES if any(f.name.startswith(word) for f in held_out)
            )
            return train, [file for file in held_out if file.name.startswith(word)]
    return files, None


def split_folders(root: pathlib.Path) -> pathlib.Path | None:
    """The folder beside root/train that holds what is held out, if there are both."""
    if (root / "train").is_dir():
        for name in HELD_OUT_NAMES:
            if (root / name).is_dir():
                return root / name
    return None


def find(path: str, suffixes: Sequence[str], kind: str) -> list[pathlib.Path]:
    """The files that `path` means, sorted; UserError if there are none or one is missing."""
    files: list[pathlib.Path] = []
    for word in expand(str(pathlib.Path(path).expanduser())):
        files += _files(word, suffixes, kind)
    return files


def _files(word: str, suffixes: Sequence[str], kind: str) -> list[pathlib.Path]:
    place = pathlib.Path(word)
    if place.is_dir():
        found = sorted(
            file
            for file in place.iterdir()
            if file.name.endswith(tuple(suffixes)) and not file.name.startswith(".")
        )
    elif glob.has_magic(word):
        found = sorted(pathlib.Path(file) for file in glob.glob(word))
        found = [file for file in found if file.name.endswith(tuple(suffixes))]
    else:
        found = [place] if place.is_file() else []
    if not found:
        raise errors.UserError(
            f"{word} holds no {kind} ({' '.join(suffixes)}); give a directory of them, a file, or "
            f"a pattern such as DIR/train-{{000..009}}{suffixes[0]}"
        )
    return found


def expand(pattern: str) -> list[str]:
    """`a{00..02}` as a00, a01, a02 and `{x,y}` as x, y, as shells do; other braces stay."""
    for match in BRACES.finditer(pattern):
        words = _words(match.group(1))
        if words is not None:
            head, tail = pattern[: match.start()], pattern[match.end() :]
            return [found for word in words for found in expand(head + word + tail)]
    return [pattern]


def _words(inside: str) -> list[str] | None:
    numbers = NUMBERS.fullmatch(inside)
    if numbers:
        first, last = numbers.groups()
        return [f"{n:0{len(first)}d}" for n in range(int(first), int(last) + 1)]
    return inside.split(",") if "," in inside else None
