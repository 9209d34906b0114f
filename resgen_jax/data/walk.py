"""The one rule by which image files are found below a folder, whatever verb looks for them."""

import collections
import os
import pathlib
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

from resgen_jax.core import errors
from resgen_jax.data import images

# What archivers, file servers and desktops put among the folders of their users, in lower case.
NOT_THE_USERS = (
    "__macosx",
    "@eadir",
    "@recycle",
    "#recycle",
    "#snapshot",
    "$recycle.bin",
    "lost+found",
    "system volume information",
)
FOLDERS = ("folder", "left out")
NUM_NAMED = 5  # folders in a message


class LeftOut(NamedTuple):
    """What lies below a folder beside its images."""

    num_others: int = 0  # files of other kinds
    num_hidden: int = 0
    num_loose: int = 0  # images that lie in no class's folder
    folders: tuple[pathlib.Path, ...] = ()  # by their names, links in a circle, links to nothing


class Found(NamedTuple):
    """The image files below a folder, sorted, and what is none."""

    files: list[pathlib.Path]
    left_out: LeftOut


def find(root: pathlib.Path) -> Found:
    """All image files below `root`; links to folders are followed, and end where they go round.

    Hidden files and folders are left out, and folders that no user made. Into each subfolder of
    `root` a folder counts once, whatever number of links leads there. A link to nothing that is
    named like an image is one, which reading it will tell. Raises UserError for a folder that
    cannot be looked into.
    """
    real = os.path.realpath(root)
    around = {real, *map(str, pathlib.PurePath(real).parents)}
    files: list[pathlib.Path] = []
    folders: list[pathlib.Path] = []
    num_others = num_hidden = 0
    # Folders first and links to folders last: a file is called by the name without a link in it.
    waiting = collections.deque([(os.fspath(root), real, set[str]())])
    while waiting:
        place, real, seen = waiting.popleft()
        if real in seen:
            folders.append(pathlib.Path(place))
            continue
        seen.add(real)
        is_root = place == os.fspath(root)
        for entry in _entries(place):
            kind = _kind(entry)
            if kind == "folder":
                inside = set(around) if is_root else seen
                if entry.is_symlink():
                    waiting.append((entry.path, os.path.realpath(entry.path), inside))
                else:
                    waiting.appendleft((entry.path, os.path.join(real, entry.name), inside))
            elif kind == "left out":
                folders.append(pathlib.Path(entry.path))
            elif kind == "image":
                files.append(pathlib.Path(entry.path))
            else:
                num_hidden += kind == "hidden"
                num_others += kind == "other"
    return Found(sorted(files), LeftOut(num_others, num_hidden, folders=tuple(sorted(folders))))


def subfolders(root: pathlib.Path) -> list[pathlib.Path]:
    """The folders in `root` that `find` looks into, by name; none where `root` is no folder."""
    if not root.is_dir():
        return []
    return [root / entry.name for entry in _entries(root) if _kind(entry) == "folder"]


def beside(root: pathlib.Path, chosen: Sequence[pathlib.Path]) -> LeftOut:
    """The folders in `root` that are not among the chosen ones."""
    folders = [root / entry.name for entry in _entries(root) if _kind(entry) in FOLDERS]
    return LeftOut(folders=tuple(folder for folder in folders if folder not in chosen))


def told(root: pathlib.Path, parts: Sequence[LeftOut]) -> str:
    """What was left out, to stand behind a number of images; empty where that is nothing.

    Of folders the names as seen from `root`.
    """
    said = [
        f"{count} {words[count > 1]} left out"
        for words, count in (
            (("file of another kind", "files of other kinds"), sum(p.num_others for p in parts)),
            (("hidden file", "hidden files"), sum(p.num_hidden for p in parts)),
            (("image of no class", "images of no class"), sum(p.num_loose for p in parts)),
        )
        if count
    ]
    folders = sorted({folder for part in parts for folder in part.folders})
    if folders:
        names = [
            str(folder.relative_to(root) if folder.is_relative_to(root) else folder)
            for folder in folders[:NUM_NAMED]
        ]
        rest = len(folders) - len(names)
        said.append(f"folders left out: {', '.join(names)}" + (f" and {rest} more" * bool(rest)))
    return "".join(f"; {text}" for text in said)


def class_name(text: str) -> str:
    """A name as it is compared: an accent may be a letter of its own or not (NFD, NFC)."""
    return unicodedata.normalize("NFC", text)


def _entries(place: str | pathlib.Path) -> list[os.DirEntry]:
    try:
        with os.scandir(place) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as failure:
        raise errors.UserError(
            f"cannot look into the folder {place} ({failure.strerror}); make it readable, or move "
            "it elsewhere"
        ) from failure


def _kind(entry: os.DirEntry) -> str:
    is_hidden = entry.name.startswith(".")
    # Not entry.is_dir(), which raises for a link to itself.
    if os.path.isdir(entry.path) if entry.is_symlink() else entry.is_dir():
        return "left out" if is_hidden or entry.name.lower() in NOT_THE_USERS else "folder"
    if is_hidden:
        return "hidden"
    is_link = entry.is_symlink()
    leads_nowhere = is_link and not os.path.exists(entry.path)
    if os.path.splitext(entry.name)[1].lower() in images.SUFFIXES:
        # A pipe is no file, and reading it would never end.
        is_file = os.path.isfile(entry.path) if is_link else entry.is_file()
        return "image" if is_file or leads_nowhere else "other"
    return "left out" if leads_nowhere else "other"
