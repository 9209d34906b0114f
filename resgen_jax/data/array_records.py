"""Images in ArrayRecord shards, each record an image file with its class; and their writer.

A record is b"RGI1", the length of a header (uint32, little-endian), the header (JSON: label, name)
and the bytes of the image file. images.json beside the shards holds the names of the classes.
"""

import json
import pathlib
import struct
from collections.abc import Sequence

from resgen_jax.core import errors
from resgen_jax.data import fingerprints, images, patterns, records, shards
from resgen_jax.io import json_files

MAGIC = b"RGI1"
DESCRIPTION = "images.json"
PREFIX = struct.Struct("<4sI")
LONGEST_NAME = 1000  # characters of it that messages show


def pack(image: records.EncodedImage) -> bytes:
    """One record."""
    header = json.dumps({"label": int(image.label), "name": image.name}).encode()
    return PREFIX.pack(MAGIC, len(header)) + header + image.encoded


def unpack(record: bytes, where: str) -> records.EncodedImage:
    """The image in a record; UserError, naming `where`, if it is none of ours."""
    try:
        magic, length = PREFIX.unpack_from(record)
        if magic != MAGIC:
            raise ValueError(f"it begins with {magic!r}")
        header = json_files.parse(record[PREFIX.size : PREFIX.size + length])
        encoded = record[PREFIX.size + length :]
        name = f"{where} {str(header['name'])[:LONGEST_NAME]}"
        return records.EncodedImage(encoded, int(header["label"]), name)
    except (struct.error, ValueError, KeyError, TypeError, OverflowError) as failure:
        raise errors.UserError(
            f"{where} holds no image with a label ({errors.reason(failure)}); write the shards "
            f"with resgen_jax.data.array_records.write"
        ) from failure


def write(
    path: str,
    train: records.EncodedImages,
    held_out: records.EncodedImages,
    class_names: Sequence[str],
    *,
    records_per_shard: int = 10_000,
) -> None:
    """The directory `path` of shards train-*, val-* and images.json; images are copied as they are.

    With the records of an opened dataset, `open_images(spec).train.records`, it turns any kind of
    files into shards. Raises UserError where there are shards already.
    """
    place = pathlib.Path(path)
    if any(place.glob(f"*{shards.SUFFIX}")):  # shards of another count would stay beside ours
        raise errors.UserError(f"{path} holds shards already; remove them or name another place")
    place.mkdir(parents=True, exist_ok=True)
    for part, found in (("train", train), ("val", held_out)):
        count = max(1, -(-len(found) // records_per_shard))
        for number in range(count):
            numbers = range(
                number * records_per_shard, min((number + 1) * records_per_shard, len(found))
            )
            shards.write(
                place / shards.name(part, number, count),
                (pack(found[index]) for index in numbers),
            )
    (place / DESCRIPTION).write_text(json.dumps({"class_names": list(class_names)}) + "\n")


class ShardImages:
    """The images of some shards."""

    def __init__(self, paths: Sequence[pathlib.Path], num_classes: int):
        self._shards, self._num_classes = shards.Records(paths), num_classes

    def __len__(self) -> int:
        return len(self._shards)

    def __getitem__(self, index: int) -> records.EncodedImage:
        file, position = self._shards.where(index)
        where = f"{self._shards.paths[file]} record {position}"
        try:
            record = self._shards[index]
        except (IndexError, ValueError) as failure:  # a damaged chunk
            said = failure.__cause__  # by the reader of shards
            cause = said if isinstance(said, Exception) else failure
            raise images.unreadable(where, cause) from failure
        image = unpack(record, where)
        if not 0 <= image.label < self._num_classes:
            raise errors.UserError(
                f"{image.name} is of class {image.label}, but there are {self._num_classes} class "
                f"names; name them all in {DESCRIPTION} or data.class_names"
            )
        return image

    def fingerprint(self) -> str:
        """A digest of the shards."""
        return fingerprints.of_files(self._shards.paths)


def open_shards(path: str, held_out_path: str, num_class_names: int = 0) -> records.Split:
    """Shards of `write`; `num_class_names` are known from elsewhere, 0 = only here."""
    train, held_out = patterns.split_files(
        path, held_out_path, (shards.SUFFIX,), "ArrayRecord shards"
    )
    class_names = _class_names(train[0].parent) or records.number_names(num_class_names)
    if not class_names:
        raise errors.UserError(
            f"{train[0].parent} has no {DESCRIPTION} with the names of the classes; name them in a "
            f"file, one a line, and set data.class_names to it"
        )
    images = ShardImages(train, len(class_names))
    if held_out is None:
        return records.Split(*records.hold_out(images, path), class_names)
    return records.Split(images, ShardImages(held_out, len(class_names)), class_names)


def _class_names(folder: pathlib.Path) -> tuple[str, ...]:
    """From images.json in the folder of the shards, or in the one above; () without it."""
    for place in (folder / DESCRIPTION, folder.parent / DESCRIPTION):
        if place.is_file():
            try:
                description = json_files.read(place, 'expected {"class_names": [...]}')
                return tuple(map(str, description["class_names"]))
            except (KeyError, TypeError) as failure:
                raise errors.UserError(
                    f"{place} does not name the classes ({errors.reason(failure)}); expected "
                    f'{{"class_names": [...]}}'
                ) from failure
    return ()
