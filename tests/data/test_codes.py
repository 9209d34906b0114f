"""The codes directory: what is written is read, all or nothing, and damage is found."""

import concurrent.futures
import errno
import json
import pickle

import numpy as np
import pytest
from tiny_codes import CODEBOOKS, META, records

from resgen_jax.core import errors, spaces
from resgen_jax.data import codes, codes_writer, shards

TOLD = ("grid", "latents", "image_size", "channels", "class_names")


def write(path, num=10, meta=META, **fields):
    codes_writer.write(
        path,
        **{
            "train": records(num),
            "held_out": records(3, 7),
            "codebooks": CODEBOOKS,
            "meta": meta,
            "records_per_shard": 4,
        }
        | fields,
    )


def test_what_is_written_is_read_record_by_record_over_shards(tmp_path):
    write(tmp_path / "codes")
    assert sorted(path.name for path in (tmp_path / "codes").iterdir()) == [
        "codebooks.npy",
        "codes.json",
        "codes_held_out-00000-of-00001.array_record",
        "codes_train-00000-of-00003.array_record",
        "codes_train-00001-of-00003.array_record",
        "codes_train-00002-of-00003.array_record",
    ]
    dataset = codes.read(tmp_path / "codes")
    assert dataset.meta == META
    np.testing.assert_array_equal(dataset.codebooks, CODEBOOKS)
    for source, (expected, labels) in (
        (dataset.train, records(10)),
        (dataset.held_out, records(3, 7)),
    ):
        assert len(source) == len(expected)
        np.testing.assert_array_equal(source.labels, labels)
        for index, element in enumerate(source[i] for i in range(len(source))):
            np.testing.assert_array_equal(element["codes"], expected[index])
            assert element["codes"].dtype == np.int32
            assert (element["labels"], element["index"]) == (labels[index], index)
        with pytest.raises(IndexError):
            source[len(source)]


def test_threads_and_copies_by_pickle_read_the_same(tmp_path):
    write(tmp_path / "codes", num=50)
    source = codes.read(tmp_path / "codes").train
    order = np.random.default_rng(0).integers(0, 50, 400).tolist()
    for one in (source, pickle.loads(pickle.dumps(source))):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda index, one=one: one[index]["codes"], order))
        np.testing.assert_array_equal(np.stack(found), records(50)[0][order])


@pytest.mark.parametrize(("codebook_size", "num_bytes"), [(2**16, 2), (2**16 + 1, 4)])
def test_the_last_entry_survives_in_the_smallest_type(tmp_path, codebook_size, num_bytes):
    meta = codes.Meta(spaces.image_codes((1, 1), 1, codebook_size, 1, 2), 8, 1, ("a", "b"))
    last = np.full((1234, 1, 1), codebook_size - 1, np.int32)
    nothing = np.zeros((0, 1, 1), np.int32), np.zeros(0, np.int32)
    write(
        tmp_path / "codes",
        meta=meta,
        train=(last, np.zeros(1234, np.int32)),
        held_out=nothing,
        codebooks=np.zeros((1, codebook_size, 1), np.float32),
        records_per_shard=10_000,
    )
    stored = shards.Records([tmp_path / "codes" / "codes_train-00000-of-00001.array_record"])
    assert {len(record) for record in stored.in_order()} == {4 + num_bytes}
    dataset = codes.read(tmp_path / "codes")
    assert {dataset.train[index]["codes"].item() for index in (0, 1233)} == {codebook_size - 1}
    assert len(dataset.held_out) == 0
    assert len(dataset.held_out.labels) == 0


@pytest.mark.parametrize(
    "name",
    [
        "codes_train-00001-of-00003.array_record",
        "codes_held_out-00000-of-00001.array_record",
        "codebooks.npy",
    ],
)
def test_one_flipped_byte_is_found_and_the_file_named(tmp_path, name):
    write(tmp_path / "codes")
    file = tmp_path / "codes" / name
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(errors.UserError, match=f"{name} is damaged.*encode again"):
        codes.read(tmp_path / "codes")
    file.unlink()
    with pytest.raises(errors.UserError, match=f"{name} is missing"):
        codes.read(tmp_path / "codes")


def test_wrong_description_is_told_in_one_line(tmp_path):
    with pytest.raises(errors.UserError, match="not a codes directory.*resgen encode"):
        codes.read(tmp_path)
    write(tmp_path / "codes")
    file = tmp_path / "codes" / "codes.json"
    fields = json.loads(file.read_text())
    file.write_text(json.dumps(fields | {"dept": 3}))
    with pytest.raises(errors.UserError, match="no field 'dept'; did you mean 'depth'"):
        codes.read(tmp_path / "codes")
    file.write_text("{")
    with pytest.raises(errors.UserError, match="codes.json is damaged"):
        codes.read(tmp_path / "codes")
    del fields["shards"]
    file.write_text(json.dumps(fields))
    with pytest.raises(errors.UserError, match="lacks the field 'shards'; encode again"):
        codes.read(tmp_path / "codes")


def test_codes_json_is_as_it_was_and_one_without_beams_had_one(tmp_path):
    write(tmp_path / "codes")
    file = tmp_path / "codes" / "codes.json"
    fields = json.loads(file.read_text())
    told = {"grid": [2, 3], "depth": 4, "codebook_size": 50, "code_dim": 5, "num_beams": 1}
    told |= {"class_names": ["a", "b"], "image_size": 8, "channels": 1, "format": 2}
    assert {name: fields[name] for name in told} == told
    assert not {"space", "max_length", "num_classes"} & set(fields)
    del fields["num_beams"]
    file.write_text(json.dumps(fields))
    assert codes.read(tmp_path / "codes").meta == META


def test_latents_where_codes_are_read_are_refused_in_one_line(tmp_path):
    write(tmp_path / "codes")
    file = tmp_path / "codes" / "codes.json"
    fields = json.loads(file.read_text())
    for name in ("depth", "codebook_size", "code_dim", "num_beams"):
        del fields[name]
    fields["latents"] = {"channels": 32, "mean": 0.0, "deviation": 0.07}
    file.write_text(json.dumps(fields))
    with pytest.raises(errors.UserError, match="holds latents of 32 channels; expected codes"):
        codes.read(tmp_path / "codes")
    found = codes.meta_of({name: fields[name] for name in TOLD}, "codes.json")
    assert found.space.latents == spaces.Latents(32, 0.0, 0.07)
    assert codes.meta_of(json.loads(json.dumps(found.fields())), "codes.json") == found


@pytest.mark.parametrize(("found", "age"), [(None, "an older"), (99, "another")])
def test_codes_of_another_format_are_refused_in_one_line(tmp_path, found, age):
    write(tmp_path / "codes")
    file = tmp_path / "codes" / "codes.json"
    fields = json.loads(file.read_text()) | {"format": found}
    if found is None:  # as with the .npy files before
        del fields["format"]
    file.write_text(json.dumps(fields))
    with pytest.raises(errors.UserError, match=f"{age} format .*encode again") as info:
        codes.read(tmp_path / "codes")
    assert "\n" not in str(info.value)


def test_full_disk_half_way_leaves_what_was_there(tmp_path, monkeypatch):
    write(tmp_path / "codes")
    whole, calls = shards.write, []

    def disk_full(path, found):
        calls.append(path)
        if len(calls) > 1:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(path, found)

    monkeypatch.setattr(shards, "write", disk_full)
    with pytest.raises(errors.UserError, match="No space left.*before is intact"):
        write(tmp_path / "codes", num=7)
    assert len(codes.read(tmp_path / "codes").train) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]


def test_writer_tells_a_full_device_as_such():
    with pytest.raises(OSError, match="No space left") as info:
        shards._write(shards.pathlib.Path("/dev/full"), [b"x" * 2**20] * 8)
    assert info.value.errno == errno.ENOSPC


def test_codes_directory_is_replaced_but_nothing_else(tmp_path):
    write(tmp_path / "codes")
    write(tmp_path / "codes", num=6)
    assert len(codes.read(tmp_path / "codes").train) == 6
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.txt").write_text("years of work")
    with pytest.raises(errors.UserError, match="exists and is not a codes directory"):
        write(tmp_path / "thesis")


def test_codes_outside_the_codebook_are_refused(tmp_path):
    bad = (np.full((1, 6, 4), 50, np.int32), np.zeros(1, np.int32))
    with pytest.raises(ValueError, match=r"outside 0\.\.49"):
        write(tmp_path / "codes", train=bad)
    assert not (tmp_path / "codes").exists()


def test_a_shard_that_is_damaged_once_it_is_open_is_named(tmp_path):
    write(tmp_path / "codes")
    name = "codes_train-00001-of-00003.array_record"
    file, opened = tmp_path / "codes" / name, codes.read(tmp_path / "codes").train
    content = bytearray(file.read_bytes())
    content[110] ^= 1  # in the first record
    file.write_bytes(bytes(content))
    damaged = pickle.loads(pickle.dumps(opened))  # which opens its files anew
    for read in (lambda: damaged[4], lambda: damaged.labels):
        with pytest.raises(errors.UserError, match=f"{name} is damaged .*write it again"):
            read()
