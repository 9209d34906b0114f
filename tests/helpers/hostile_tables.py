"""Tables and shards that would swell, hang or mislead.

TABLES and SHARDS are for `file_readers.tables` and `shards`; by name, each makes a folder of one in
a folder.
"""

import json
import struct

import numpy as np
import valid_files

from resgen_jax.data import shards as array_records

_PNG = valid_files.encoded_picture("PNG")


def _tables(make_table, **options):
    def make(folder, rng):
        import pyarrow
        from pyarrow import parquet

        place = folder / "tables"
        place.mkdir()
        parquet.write_table(make_table(pyarrow), place / "train-0.parquet", **options)
        return place

    return make


def _images_of(size, count):
    """A table of `count` images of so many equal bytes, stored once."""

    def table(pa):
        image = pa.array([bytes(size)] * count, pa.large_binary())
        return pa.table({"image": image, "label": pa.array(np.zeros(count, np.int64))})

    return table


def _labels_of(count):
    """A table of very many equal labels, of which runs are stored by their length."""

    def table(pa):
        nothing = pa.array([b""], pa.binary()).dictionary_encode()
        image = pa.DictionaryArray.from_arrays(np.zeros(count, np.int8), nothing.dictionary)
        return pa.table({"image": image, "label": pa.array(np.zeros(count, np.int64))})

    return table


def _names_of(size, count):
    def table(pa):
        label = pa.DictionaryArray.from_arrays(
            pa.array(np.zeros(count, np.int32)), pa.array(["n" * size])
        )
        return pa.table({"image": pa.array([_PNG] * count, pa.binary()), "label": label})

    return table


def _of_labels(values):
    return lambda pa: pa.table({"image": pa.array([_PNG] * len(values)), "label": pa.array(values)})


def _nested(depth):
    def table(pa):
        kind = pa.int8()
        for _ in range(depth):
            kind = pa.struct([("x", kind)])
        return pa.table({"image": pa.nulls(2, kind), "label": pa.array([0, 1])})

    return table


def _named(name):
    return lambda pa: pa.table({name: pa.array([_PNG]), "label": pa.array([0])})


def _noted(note):
    def table(pa):
        whole = _of_labels([0, 1, 0])(pa)
        return whole.replace_schema_metadata({b"huggingface": note})

    return table


TABLES = {
    "table of equal images of 1 MB": _tables(_images_of(2**20, 400), compression="zstd"),
    "table of one image of 100 MB": _tables(_images_of(10**8, 1), compression="zstd"),
    "table of 50 million labels": _tables(_labels_of(50_000_000), compression="zstd"),
    "table of equal names of 1 MB": _tables(_names_of(2**20, 3000), compression="zstd"),
    "table of structs within structs": _tables(_nested(100)),
    "table whose column clears the terminal": _tables(_named("im\x1b[2J\n")),
    "table of negative labels": _tables(_of_labels([-1, 0, 2])),
    "table of labels of 10^18": _tables(_of_labels([0, 1, 10**18])),
    "table of labels that are NaN": _tables(_of_labels([0.0, 1.5, float("nan")])),
    "table of labels that clear the terminal": _tables(_of_labels(["a\x1b[2J\n", "b", "c"])),
    "table of a note of deep JSON": _tables(_noted(b"[" * 10**5)),
    "table of a note of wrong types": _tables(
        _noted(b'{"info":{"features":{"label":{"names":[1,{},null]}}}}')
    ),
}


def _shards(*records, names=("a", "b")):
    def make(folder, rng):
        place = folder / "shards"
        place.mkdir()
        array_records.write(place / "train-00000-of-00001.array_record", records)
        described = names if isinstance(names, str) else json.dumps({"class_names": names})
        (place / "images.json").write_text(described)
        return place

    return make


def _record(header, content=_PNG, length=None):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<4sI", b"RGI1", len(text) if length is None else length) + text + content


_WHOLE = _record({"label": 0, "name": "x"})
SHARDS = {
    "record of deep JSON": _shards(_record(b"[" * 10**5), _WHOLE),
    "record of label infinity": _shards(_record(b'{"label":1e999,"name":"x"}'), _WHOLE),
    "record of no label": _shards(_record(b'{"label":null,"name":"x"}'), _WHOLE),
    "record of label 7 of 2": _shards(_record({"label": 7, "name": "x"}), _WHOLE),
    "record whose name clears the terminal": _shards(
        _record({"label": 0, "name": "x\x1b[2J\n"}, b"no picture"), _WHOLE
    ),
    "record of a name of 1 MB": _shards(_record({"label": 0, "name": "x" * 10**6}, b"no"), _WHOLE),
    "record of a header of 4 GB": _shards(_record(b"{}", length=2**32 - 1), _WHOLE),
    "record of nothing": _shards(b"", _WHOLE),
    "shards of class names that are a number": _shards(_WHOLE, _WHOLE, names='{"class_names":7}'),
    "shards of a class name of 1 MB": _shards(_WHOLE, _WHOLE, names=["x" * 10**6, "y"]),
}
