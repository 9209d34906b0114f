"""Codes directories of strangers: what does not fit its description is refused, by name."""

import hashlib
import json

import buckets
import numpy as np
import pytest
from tiny_codes import CODEBOOKS, META, records

from resgen_jax.core import errors
from resgen_jax.data import codes, codes_writer, shards
from resgen_jax.io import files, paths

FIRST = "codes_train-00000-of-00001.array_record"


@pytest.fixture
def folder(tmp_path):
    """A whole directory."""
    codes_writer.write(
        tmp_path / "codes",
        train=records(10),
        held_out=records(3, 7),
        codebooks=CODEBOOKS,
        meta=META,
        records_per_shard=100,
    )
    return tmp_path / "codes"


def describe(folder, **changes):
    """Other fields in codes.json, and the checksums of the files as they are now."""
    fields = json.loads((folder / "codes.json").read_text()) | changes
    for name in fields["sha256"]:
        if (folder / name).is_file():
            fields["sha256"][name] = files.sha256(folder / name)
    (folder / "codes.json").write_text(json.dumps(fields))
    return fields


def read_all(folder):
    """Every record."""
    dataset = codes.read(folder)
    return [part[index] for part in dataset[:2] for index in range(len(part))]


def refused(folder, *words):
    """Opening and reading all of it ends in one line that holds `words`."""
    with pytest.raises(errors.UserError) as caught:
        read_all(folder)
    assert "\n" not in str(caught.value)
    for word in words:
        assert word in str(caught.value)


HOSTILE = ("../victim", "/etc/hostname", "..", "a/b", "a\\b", "c:victim", "", "x\x1b[2J", "n" * 300)


@pytest.mark.parametrize("name", HOSTILE)
def test_shards_are_named_plainly_or_nothing_is_opened(folder, name, monkeypatch):
    describe(folder, shards={"train": {name: 1}, "held_out": {}})
    monkeypatch.setattr(files, "sha256", lambda path: pytest.fail(f"{path} was opened"))
    refused(folder, "codes.json names the file", "a name without a folder")


def test_description_in_a_bucket_writes_nothing_outside_of_the_cache(folder, monkeypatch, tmp_path):
    buckets.fake(monkeypatch)
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path / "cache"))
    place = paths.of("s3://stranger/codes")
    payload = b"written by a stranger"
    fields = json.loads((folder / "codes.json").read_text())
    fields["shards"]["train"]["../../../victim"] = 1
    fields["sha256"]["../../../victim"] = hashlib.sha256(payload).hexdigest()
    paths.write(place / "codes.json", json.dumps(fields).encode())
    refused("s3://stranger/codes", "names the file")
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("grid", [-1, 2]),
        ("grid", [2**40, 2]),
        ("depth", 0),
        ("codebook_size", -5),
        ("code_dim", 0),
        ("image_size", 10**30),
    ],
)
def test_sizes_that_nothing_can_have_are_named(folder, field, value):
    describe(folder, **{field: value})
    refused(folder, field, "expected")


def test_codes_that_point_beyond_the_codebook_are_named_with_their_record(folder):
    codes_of, labels = records(10)
    codes_of = codes_of.copy()
    codes_of[6, 0, 0] = META.space.codes.codebook_size
    layout = codes.Layout.of(META)
    rows = [layout.pack(row, int(label)) for row, label in zip(codes_of, labels, strict=True)]
    shards.write(folder / FIRST, rows)
    describe(folder)
    refused(
        folder,
        f"record 6 of {folder / FIRST}",
        f"to {META.space.codes.codebook_size}",
        "encode again",
    )


@pytest.mark.parametrize("label", [-1, len(META.class_names)])
def test_labels_of_no_class_are_named_with_their_record(folder, label):
    layout = codes.Layout.of(META)
    rows = [layout.pack(row, label) for row in records(10)[0]]
    shards.write(folder / FIRST, rows)
    describe(folder)
    refused(folder, "record 0 of", f"the label {label}", f"0 to {len(META.class_names) - 1}")
    with pytest.raises(errors.UserError, match=f"the label {label}"):
        _ = codes.read(folder).train.labels


def test_short_records_and_missing_ones_are_named(folder):
    layout = codes.Layout.of(META)
    rows = [layout.pack(row, 0) for row in records(10)[0]]
    shards.write(folder / FIRST, [*rows[:9], rows[9][:-1]])
    describe(folder)
    refused(folder, "record 9 of", f"{layout.num_bytes - 1} bytes")
    shards.write(folder / FIRST, rows[:4])
    describe(folder)
    refused(folder, FIRST, "holds 4 records", "tells of 10")


@pytest.mark.parametrize(
    ("array", "word"),
    [
        (CODEBOOKS[:, :-1], "tells of float32 of"),
        (CODEBOOKS.astype(np.float64), "holds float64"),
        (np.full_like(CODEBOOKS, np.nan), "holds NaN"),
    ],
)
def test_codebooks_of_another_kind_are_refused(folder, array, word):
    np.save(folder / codes.CODEBOOKS, array)
    describe(folder)
    refused(folder, codes.CODEBOOKS, word)


def test_codebooks_that_claim_terabytes_are_refused_without_them(folder):
    header = {"descr": "<f4", "fortran_order": False, "shape": (2**40, 2, 2)}
    with open(folder / codes.CODEBOOKS, "wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
    describe(folder)
    refused(folder, "is no array")
