"""ArrayRecord images: records that tell what they are, names beside them, and foreign files."""

import json

import image_files
import pytest

from resgen_jax.core import errors
from resgen_jax.data import array_records, records, shards


@pytest.fixture
def place(tmp_path):
    split = image_files.encoded(image_files.make_folder(tmp_path / "folder"))
    return tmp_path / "shards", image_files.write_array_records(tmp_path / "shards", split), split


def test_a_record_is_the_file_with_its_class(place):
    image = records.EncodedImage(b"\xff\xd8 bytes", 7, "a/b c.jpg")
    packed = array_records.pack(image)
    assert packed[:4] == b"RGI1"
    length = int.from_bytes(packed[4:8], "little")
    assert json.loads(packed[8 : 8 + length]) == {"label": 7, "name": "a/b c.jpg"}
    assert packed[8 + length :] == image.encoded
    assert array_records.unpack(packed, "x record 3") == image._replace(name="x record 3 a/b c.jpg")
    folder, path, split = place
    assert sorted(file.name for file in folder.iterdir()) == [
        "images.json",
        *(f"train-{number:05d}-of-00003.array_record" for number in range(3)),
        *(f"val-{number:05d}-of-00002.array_record" for number in range(2)),
    ]
    opened = array_records.open_shards(path, "")
    assert opened.class_names == image_files.CLASSES
    assert [opened.train[i].encoded for i in range(15)] == [
        split.train[i].encoded for i in range(15)
    ]


def test_written_twice_the_files_are_the_same(place, tmp_path):
    folder, _, split = place
    again = tmp_path / "again"
    image_files.write_array_records(again, split)
    for file in folder.iterdir():
        assert (again / file.name).read_bytes() == file.read_bytes()


def test_shards_are_not_mixed_with_those_of_another_writing(place):
    _, path, split = place
    with pytest.raises(errors.UserError, match="holds shards already"):
        array_records.write(path, *split, records_per_shard=2)


def test_class_names_may_come_from_elsewhere(place):
    folder, path, _ = place
    (folder / "images.json").unlink()
    with pytest.raises(errors.UserError, match="no images.json .* set data.class_names"):
        array_records.open_shards(path, "")
    assert array_records.open_shards(path, "", 3).class_names == ("0", "1", "2")
    short = array_records.open_shards(path, "", 2).train
    with pytest.raises(errors.UserError, match="of class 2, but there are 2 class names"):
        short[14]
    (folder / "images.json").write_text("[]")
    with pytest.raises(errors.UserError, match="holds no fields; expected .*class_names"):
        array_records.open_shards(path, "", 3)


@pytest.mark.parametrize(
    "record", [b"", b"RGI", b"XXXX\0\0\0\0", b"RGI1\2\0\0\0{}", b"RGI1\3\0\0\0{}"]
)
def test_foreign_records_are_told(tmp_path, record):
    path = tmp_path / "x.array_record"
    shards.write(path, [record, record])
    opened = array_records.open_shards(str(path), "", 3)
    with pytest.raises(errors.UserError, match="x.array_record record 0 holds no image.*write"):
        opened.train[0]


def test_files_of_another_kind_and_damaged_ones_are_told(place, tmp_path):
    folder, path, _ = place
    for content in (b"", b"not an array record" * 10_000):
        (tmp_path / "x.array_record").write_bytes(content)
        with pytest.raises(errors.UserError, match="x.array_record cannot be read"):
            array_records.open_shards(str(tmp_path / "x.array_record"), "", 3)
    file = folder / "train-00001-of-00003.array_record"
    content = bytearray(file.read_bytes())
    at = content.index(b"RGI1") + 60
    content[at] ^= 1
    file.write_bytes(bytes(content))
    opened = array_records.open_shards(path, "").train
    with pytest.raises(errors.UserError, match="train-00001-of-00003.array_record record 0"):
        opened[5]
    assert opened[0].label == 0
