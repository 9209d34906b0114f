"""The codes directory: what is written is read, all or nothing, and damage is found."""

import errno
import json

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.data import codes

META = codes.Meta(
    grid=(2, 3),
    depth=4,
    codebook_size=50,
    code_dim=5,
    image_size=8,
    channels=1,
    class_names=("a", "b"),
    tokenizer="runs/tokenizer",
)


def records(num, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(0, 50, (num, 6, 4), dtype=np.int32), rng.integers(0, 2, num, dtype=np.int32)


def batches(num, seed=0, size=4):
    chosen, labels = records(num, seed)
    for start in range(0, num, size):
        yield chosen[start : start + size], labels[start : start + size]


CODEBOOKS = np.random.default_rng(1).normal(size=(4, 50, 5)).astype(np.float32)


def write(path, num=10, meta=META, **fields):
    codes.write(
        path,
        **{"train": batches(num), "held_out": batches(3, 7), "codebooks": CODEBOOKS, "meta": meta}
        | fields,
    )


def test_what_is_written_in_batches_is_read_record_by_record(tmp_path):
    write(tmp_path / "codes")
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


@pytest.mark.parametrize(("codebook_size", "dtype"), [(2**16, np.uint16), (2**16 + 1, np.int32)])
def test_numpy_reads_the_files_and_the_last_entry_survives(tmp_path, codebook_size, dtype):
    meta = codes.Meta((1, 1), 1, codebook_size, 1, 8, 1, ("a", "b"))
    last = np.full((1234, 1, 1), codebook_size - 1, np.int32)
    batch = (last, np.zeros(1234, np.int32))
    write(
        tmp_path / "codes",
        meta=meta,
        train=[batch] * 3,
        held_out=[],
        codebooks=np.zeros((1, codebook_size, 1), np.float32),
    )
    stored = np.load(tmp_path / "codes" / "codes_train.npy")
    assert stored.dtype == dtype
    assert stored.shape == (3702, 1, 1)
    assert np.all(stored == codebook_size - 1)
    assert len(codes.read(tmp_path / "codes").held_out) == 0


@pytest.mark.parametrize("name", ["codes_train", "labels_train", "codes_held_out", "codebooks"])
def test_one_flipped_byte_is_found_and_the_file_named(tmp_path, name):
    write(tmp_path / "codes")
    file = tmp_path / "codes" / f"{name}.npy"
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(bytes(content))
    with pytest.raises(errors.UserError, match=f"{name}.npy is damaged.*encode again"):
        codes.read(tmp_path / "codes")
    file.unlink()
    with pytest.raises(errors.UserError, match=f"{name}.npy is missing"):
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


def test_failure_half_way_leaves_what_was_there(tmp_path):
    write(tmp_path / "codes")

    def disk_full():
        yield from batches(4)
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(errors.UserError, match="No space left.*before is intact"):
        write(tmp_path / "codes", train=disk_full())
    assert len(codes.read(tmp_path / "codes").train) == 10
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]


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
        write(tmp_path / "codes", train=[bad])
    assert not (tmp_path / "codes").exists()
