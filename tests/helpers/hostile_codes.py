"""Codes directories that lie, for `file_readers.codes_directory`.

CODES: by name, each takes a whole directory of its own and changes it in its place.
"""

import json

import numpy as np
import tiny_codes

from resgen_jax.data import codes, shards
from resgen_jax.io import files

TRAIN = "codes_train-00000-of-00001.array_record"


def describe(folder, **changes):
    """Other fields in codes.json, and the checksums of the files as they are now."""
    path = folder / codes.DESCRIPTION
    fields = json.loads(path.read_text())
    for name in fields["sha256"]:
        if (folder / name).is_file():
            fields["sha256"][name] = files.sha256(folder / name)
    path.write_text(json.dumps(fields | changes))


def _described(**changes):
    return lambda folder, rng: describe(folder, **changes)


def _named(name):
    return _described(shards={"train": {name: 1}, "held_out": {}}, sha256={name: "0" * 64})


def _records(change):
    def make(folder, rng):
        layout = codes.Layout.of(tiny_codes.META)
        found = [
            layout.pack(row, int(label)) for row, label in zip(*tiny_codes.records(10), strict=True)
        ]
        shards.write(folder / TRAIN, change(found))
        describe(folder)

    return make


def _codebooks(array):
    def make(folder, rng):
        np.save(folder / codes.CODEBOOKS, array)
        describe(folder)

    return make


def _header(shape, kind="<f4"):
    def make(folder, rng):
        with open(folder / codes.CODEBOOKS, "wb") as file:
            header = {"descr": kind, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        describe(folder)

    return make


def text(file, content):
    """Another content of a file."""

    def make(folder, rng):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / file).write_bytes(content)

    return make


_LABEL = np.int32(9).tobytes()
CODES = {
    "codes beyond the codebook": _records(lambda rows: [*rows[:9], rows[9][:-2] + b"\xff\xff"]),
    "labels beyond the classes": _records(lambda rows: [*rows[:9], _LABEL + rows[9][4:]]),
    "short record of codes": _records(lambda rows: [*rows[:9], rows[9][:-1]]),
    "record of codes of 30 MB": _records(lambda rows: [*rows[:9], bytes(3 * 10**7)]),
    "fewer records than told": _records(lambda rows: rows[:4]),
    "negative grid": _described(grid=[-2, -3]),
    "grid of 2^24 by 2^24": _described(grid=[2**24, 2**24]),
    "depth of 2^24": _described(depth=2**24),
    "codebook of 2^40 entries": _described(codebook_size=2**40),
    "codebooks of another shape": _codebooks(tiny_codes.CODEBOOKS[:, :-1]),
    "codebooks of NaN": _codebooks(np.full_like(tiny_codes.CODEBOOKS, np.nan)),
    "codebooks of Python objects": _codebooks(np.array([{}], object)),
    "codebooks that claim terabytes": _header((2**40, 2, 2)),
    "codebooks of sizes over 2^64": _header((2**33, 2**33, 2**33)),
    "codes.json of deep JSON": text("codes.json", b'{"a":' * 10**5),
    "codes.json of a number of 10^6 digits": text("codes.json", b'{"a":' + b"9" * 10**6 + b"}"),
    "codes.json of 10^6 lists": text("codes.json", b'{"a":[' + b"[]," * 10**6 + b"[]]}"),
    "codes.json that is no text": text("codes.json", b"\xff\xfe\x00{"),
    "codes.json of class names of 1 MB": _described(class_names=["x" * 10**6]),
    "codes.json of counts that are texts": _described(
        shards={"train": {TRAIN: "ten"}, "held_out": {}}
    ),
    **{
        f"codes.json that names {name!r}": _named(name)
        for name in ("../../victim", "/etc/hostname", "..", "", "a\x1b[2J\n", "n" * 300, "a\0b")
    },
}
