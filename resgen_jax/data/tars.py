"""Images in tar files of the WebDataset layout: key.jpg beside key.cls or key.json.

The members of a tar are found once; where they lie is kept in TAR.index.json beside it, if that
place can be written, and is looked up again when the tar has changed.
"""

import concurrent.futures
import contextlib
import json
import os
import pathlib
import tarfile
from collections.abc import Mapping, Sequence
from typing import IO, NamedTuple, cast

import numpy as np

from resgen_jax.core import errors
from resgen_jax.data import fingerprints, images, labels, patterns, records
from resgen_jax.io import file_cache, files, json_files

SUFFIXES = (".tar",)
LABEL_SUFFIXES = (".cls", ".json")  # of both the first counts, whichever comes first in the tar
LABEL_FIELDS = ("label", "cls", "class_name")
INDEX_FORMAT = 3
ANY_BYTES = "surrogateescape"  # names in tars are bytes of any encoding
MAX_NAME, MAX_LABEL = 4096, 2**20  # bytes; of more, neither is what it claims to be
MANY = 8  # tars that are looked through at a time

Place = tuple[int, int]  # where a file begins in the tar, and its size


class Member(NamedTuple):
    """An image in a tar."""

    key: str
    offset: int
    size: int
    label: labels.Label


class TarImages:
    """The images of some tars, each read where it lies."""

    def __init__(
        self,
        paths: Sequence[pathlib.Path],
        members: Sequence[Sequence[Member]],
        class_names: Sequence[str],
    ):
        self.paths = tuple(str(path) for path in paths)
        self._files = file_cache.Handles(file_cache.Bytes)
        by_name = {name: number for number, name in enumerate(class_names)}
        # Arrays, because a list of a million tuples takes hundreds of megabytes.
        self._tars = np.repeat(np.arange(len(paths)), [len(found) for found in members])
        flat = [member for found in members for member in found]
        self._keys = np.array([_as_bytes(member.key) for member in flat], np.bytes_)
        self._places = np.array([(m.offset, m.size) for m in flat], np.int64).reshape(-1, 2)
        self._labels = np.array([by_name[str(member.label)] for member in flat], np.int32)

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> records.EncodedImage:
        path = self.paths[self._tars[index]]
        name = f"{path}:{self._keys[index].decode(errors=ANY_BYTES)}"
        offset, size = map(int, self._places[index])
        try:
            encoded = self._files(path).read(offset, size)
        except OSError as failure:
            raise images.unreadable(name, failure) from failure
        return records.EncodedImage(encoded, int(self._labels[index]), name)

    def fingerprint(self) -> str:
        """A digest of the tars."""
        return fingerprints.of_files(self.paths)


def open_tars(path: str, held_out_path: str) -> records.Split:
    """Tars of a directory, glob or pattern; labels are numbers, or names sorted into classes."""
    train, held_out = patterns.split_files(path, held_out_path, SUFFIXES, "tar files")
    members = _index_all([*train, *(held_out or ())])
    class_names = _class_names([member.label for found in members for member in found], path)
    if held_out is not None:
        inside = TarImages(train, members[: len(train)], class_names)
        outside = TarImages(held_out, members[len(train) :], class_names)
        return records.Split(inside, outside, class_names)
    parts = records.hold_out(TarImages(train, members, class_names), path)
    return records.Split(*parts, class_names)


def _class_names(found: Sequence[labels.Label], where: str) -> tuple[str, ...]:
    kinds = {type(label) for label in found}
    if kinds == {int}:
        numbers = cast(Sequence[int], found)
        if min(numbers) < 0:
            raise errors.UserError(f"{where} has the label {min(numbers)}; expected 0 or more")
        return records.number_names(max(numbers) + 1)
    if kinds == {str}:
        return tuple(sorted(set(cast(Sequence[str], found))))
    raise errors.UserError(
        f"{where} labels some images by number and some by name; label all of them one way"
    )


def _index_all(paths: Sequence[pathlib.Path]) -> list[list[Member]]:
    with concurrent.futures.ThreadPoolExecutor(MANY) as pool:
        return list(pool.map(index, paths))


def index(path: pathlib.Path) -> list[Member]:
    """The images of a tar in its order; UserError for a tar that is damaged or lacks labels."""
    status = path.stat()
    state = {"format": INDEX_FORMAT, "size": status.st_size, "mtime_ns": status.st_mtime_ns}
    kept = path.with_name(path.name + ".index.json")
    try:
        found = json_files.parse(kept.read_bytes())
        if all(found[name] == value for name, value in state.items()):
            return [_kept(entry, status.st_size) for entry in found["members"]]
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or of no use: it is made anew
    members = _look_through(path)
    with contextlib.suppress(OSError):  # a place that cannot be written: the next run looks again
        files.write(kept, json.dumps(state | {"members": members}).encode())
    return members


def _kept(entry: Sequence, size: int) -> Member:
    """A member out of an index; ValueError where it lies outside of a tar of this size."""
    member = Member(*entry)
    places = (member.offset, member.size)
    is_inside = 0 <= member.offset <= member.offset + member.size <= size
    is_named = isinstance(member.key, str) and len(_as_bytes(member.key)) <= MAX_NAME
    if not (is_named and is_inside and all(isinstance(place, int) for place in places)):
        raise ValueError("an entry that was not written here")
    return member._replace(label=labels.of(member.label, member.key))


def _as_bytes(name: str) -> bytes:
    """A name as it stands in the tar; ValueError for one that cannot stand there."""
    return name.encode(errors=ANY_BYTES)


def _look_through(path: pathlib.Path) -> list[Member]:
    pictures: dict[str, dict[str, Place]] = {}
    by_suffix: dict[str, dict[str, labels.Label]] = {suffix: {} for suffix in LABEL_SUFFIXES}
    problems: dict[str, str] = {}  # of labels in JSON, which count where no other is
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                _check(member, path)
                key, suffix = _split(member.name)
                name = os.path.basename(member.name)
                if not member.isfile() or name.startswith("."):  # macOS puts ._NAME beside NAME
                    continue
                if suffix in images.SUFFIXES:
                    pictures.setdefault(key, {})[name] = (member.offset_data, member.size)
                elif suffix in LABEL_SUFFIXES:
                    file = cast(IO[bytes], tar.extractfile(member))  # it is one
                    text, where = file.read(), f"{path}:{member.name}"
                    try:
                        by_suffix[suffix][key] = LABEL_READERS[suffix](text, where)
                    except errors.UserError as failure:
                        if suffix == ".cls":
                            raise
                        problems[key] = str(failure)
    except (tarfile.TarError, OSError, EOFError) as failure:
        raise errors.UserError(
            f"{path} cannot be read as an uncompressed tar ({errors.reason(failure)}); make it "
            f"again"
        ) from failure
    if not pictures:
        raise errors.UserError(
            f"{path} holds no images ({' '.join(images.SUFFIXES)}) named key.jpg; look at it with "
            f"`tar tf`"
        )
    found = by_suffix[".json"] | by_suffix[".cls"]
    lacking = next((key for key in pictures if key not in found), None)
    if lacking is not None:
        raise errors.UserError(
            problems.get(lacking)
            or f"{path} has no label of the image {lacking!r}; put {lacking}.cls (a number) or "
            f"{lacking}.json (with the field 'label') beside it"
        )
    return [Member(key, *_picture(each, path), found[key]) for key, each in pictures.items()]


def _check(member: tarfile.TarInfo, path: pathlib.Path) -> None:
    """Raises UserError for a member that claims what no image or label is."""
    if len(_as_bytes(member.name)) > MAX_NAME:
        problem = f"a name of {len(member.name)} characters"
    elif member.issparse():
        problem = f"the sparse file {member.name!r}"
    elif _split(member.name)[1] in LABEL_SUFFIXES and member.size > MAX_LABEL:
        problem = f"{member.name!r}, a label of {member.size} bytes"
    else:
        return
    raise errors.UserError(f"{path} holds {problem}; make it again without")


def _picture(found: Mapping[str, Place], path: pathlib.Path) -> Place:
    """The image of a key: key.jpg rather than key.mask.png; UserError where it could be several."""
    names = [name for name in found if name.count(".") == 1] or list(found)
    if len(names) > 1:
        raise errors.UserError(
            f"{path} has {len(names)} images of one key ({', '.join(names[:2])}, ...): a key ends "
            f"at the first dot of a name; keep one image of each, or name them without such dots"
        )
    return found[names[0]]


def _split(name: str) -> tuple[str, str]:
    """WebDataset's key, up to the first dot of the file's name, and the last suffix."""
    folder, _, base = name.rpartition("/")
    key, dot, rest = base.partition(".")
    suffix = dot + rest.rpartition(".")[2].lower()
    return (f"{folder}/{key}" if folder else key), suffix


def _label_of_text(text: bytes, where: str) -> labels.Label:
    """The label that a .cls file holds."""
    try:
        value = text.decode(json.detect_encoding(text)).strip()
    except ValueError:
        value = ""
    if not value:
        raise errors.UserError(f"{where} holds no label; expected a class's number or name")
    return labels.of(value, where)


def _label_of_json(text: bytes, where: str) -> labels.Label:
    """Of the first field of LABEL_FIELDS that holds something."""
    try:
        fields = json_files.parse(text)
        value = next(fields[name] for name in LABEL_FIELDS if fields.get(name) is not None)
    except (ValueError, AttributeError, StopIteration):
        raise errors.UserError(
            f"{where} holds no label; expected a number or a name as the field "
            f"{' or '.join(LABEL_FIELDS)}"
        ) from None
    return labels.of(value, where)


LABEL_READERS = {".cls": _label_of_text, ".json": _label_of_json}
