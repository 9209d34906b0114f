"""Tars: labels by number or name, the index beside the file, and tars that are not in order."""

import os
import tarfile

import image_files
import pytest

from resgen_jax.core import errors
from resgen_jax.data import tars


@pytest.fixture(scope="module")
def split(tmp_path_factory):
    return image_files.encoded(image_files.make_folder(tmp_path_factory.mktemp("tars") / "folder"))


def labels(records):
    return [records[index].label for index in range(len(records))]


@pytest.mark.parametrize(
    ("how", "names"), [("json", ("0", "1", "2")), ("name", ("ant", "bee", "cat"))]
)
def test_labels_are_numbers_or_names(tmp_path, split, how, names):
    found = tars.open_tars(image_files.write_tars(tmp_path / "tars", split, how), "")
    assert found.class_names == names
    assert labels(found.train) == [0] * 5 + [1] * 5 + [2] * 5
    assert found.train[7].encoded == split.train[7].encoded


def test_index_is_used_again_until_the_tar_changes(tmp_path, split, monkeypatch):
    place = image_files.write_tars(tmp_path / "tars", split)
    first = tars.open_tars(place, "").train
    looked = []
    look = tars._look_through
    monkeypatch.setattr(tars, "_look_through", lambda path: looked.append(path.name) or look(path))
    again = tars.open_tars(place, "").train
    assert not looked
    assert [again[i] for i in range(15)] == [first[i] for i in range(15)]
    changed = tmp_path / "tars" / "train-001.tar"
    with tarfile.open(changed, "a") as tar:
        image_files.add_member(tar, "zz.png", split.train[0].encoded)
        image_files.add_member(tar, "zz.cls", b"2")
    assert len(tars.open_tars(place, "").train) == 16
    assert looked == ["train-001.tar"]
    (tmp_path / "tars" / "train-001.tar.index.json").write_text("{")
    assert len(tars.open_tars(place, "").train) == 16


def test_place_that_cannot_be_written_is_read_all_the_same(tmp_path, split, monkeypatch):
    place = image_files.write_tars(tmp_path / "tars", split)

    def refuse(self, *arguments):
        raise PermissionError("read-only")

    monkeypatch.setattr(tars.pathlib.Path, "write_bytes", refuse)
    assert len(tars.open_tars(place, "").train) == 15
    assert not list((tmp_path / "tars").glob("*.json"))


def make(path, members, mode="w"):
    with tarfile.open(path, mode) as tar:
        for name, content in members.items():
            image_files.add_member(tar, name, content)


@pytest.mark.parametrize(
    ("members", "message"),
    [
        ({"a.txt": b"hello"}, "holds no images"),
        ({"a.jpg": b"x", "b.jpg": b"x", "b.cls": b"1"}, "no label of the image 'a'"),
        ({"a.jpg": b"x", "a.json": b'{"height": 3}'}, "a.json holds no label"),
        ({"a.jpg": b"x", "a.json": b'{"label": null}'}, "a.json holds no label"),
        ({"a.jpg": b"x", "a.json": b'{"label": [3]}'}, "a.json has the label of type list"),
        ({"a.jpg": b"x", "a.json": b'{"label": true}'}, "a.json has the label True; expected"),
        ({"a.jpg": b"x", "a.json": b'{"label": 1.7}'}, "a.json has the label 1.7; expected"),
        ({"a.jpg": b"x", "a.json": b"[" * 10**5}, "a.json holds no label"),
        ({"a.jpg": b"x", "a.cls": b"1.7"}, "a.cls has the label '1.7'; expected"),
        ({"a.jpg": b"x", "a.cls": b"x" * 2000}, "a.cls has the label 'xxx"),
        ({"a.jpg": b"x", "a.cls": b""}, "a.cls holds no label"),
        ({"a.jpg": b"x", "a.cls": b"123456789012"}, "a label 123456789012; expected numbers of"),
        ({"a.jpg": b"x", "a.cls": b"-1"}, "the label -1; expected 0 or more"),
        ({"a.jpg": b"x", "a.cls": b"1", "b.jpg": b"y", "b.cls": b"bee"}, "some by name"),
    ],
)
def test_wrong_tars_are_told_in_one_line(tmp_path, members, message):
    make(tmp_path / "x.tar", members)
    with pytest.raises(errors.UserError, match=message) as info:
        tars.open_tars(str(tmp_path / "x.tar"), "")
    assert "\n" not in str(info.value)


@pytest.mark.parametrize("json", [b'{"caption": "x"}', b'{"label": 7}', b"no JSON"])
@pytest.mark.parametrize("is_json_first", [True, False])
def test_cls_counts_whatever_stands_in_json_and_comes_first(tmp_path, json, is_json_first):
    members = {"a.jpg": b"x", "a.cls": b"1", "b.jpg": b"y", "b.cls": b"0"}
    first = {"a.json": json} if is_json_first else {}
    make(tmp_path / "x.tar", first | members | {"a.json": json})
    found = tars.open_tars(str(tmp_path / "x.tar"), str(tmp_path / "x.tar"))
    assert labels(found.train) == [1, 0]
    assert found.class_names == ("0", "1")


def test_labels_are_read_past_marks_of_byte_order_and_points_of_whole_numbers(tmp_path):
    texts = (b"\xef\xbb\xbf0\r\n", "2".encode("utf-16"), b"1.0", b" 1 \n")
    members = {f"{number}.cls": text for number, text in enumerate(texts)}
    members |= {"4.json": b"\xef\xbb\xbf" + b'{"label": 2.0}', "5.json": b'{"cls": "0"}'}
    make(tmp_path / "x.tar", members | {f"{number}.jpg": b"x" for number in range(6)})
    for _ in range(2):  # the second time out of the index
        found = tars.open_tars(str(tmp_path / "x.tar"), str(tmp_path / "x.tar"))
        assert labels(found.train) == [0, 2, 1, 1, 2, 0]
        assert found.class_names == ("0", "1", "2")


def test_image_of_a_key_is_not_its_mask_and_hidden_files_are_none(tmp_path):
    members = {"a.mask.png": b"mask", "a.jpg": b"image", "a.cls": b"0", "a.x.jpg": b"other"}
    members |= {"b.left.jpg": b"left", "b.cls": b"1", "._a.jpg": b"\0", "c/._b.cls": b"\0"}
    make(tmp_path / "x.tar", members)
    found = tars.open_tars(str(tmp_path / "x.tar"), str(tmp_path / "x.tar")).train
    assert [found[index][:2] for index in range(len(found))] == [(b"image", 0), (b"left", 1)]


def test_images_that_share_a_key_are_told_not_lost(tmp_path):
    members = {f"n01.v{number}.jpg": b"x" for number in range(3)} | {"n01.cls": b"0"}
    make(tmp_path / "x.tar", members)
    with pytest.raises(errors.UserError, match="3 images of one key .n01.v0.jpg, n01.v1.jpg"):
        tars.open_tars(str(tmp_path / "x.tar"), "")


def test_damaged_and_packed_tars_are_told(tmp_path, split):
    place = image_files.write_tars(tmp_path / "tars", split)
    whole = (tmp_path / "tars" / "train-000.tar").read_bytes()
    for name, content in (("cut", whole[:2600]), ("page", b"<html></html>"), ("empty", b"")):
        path = tmp_path / f"{name}.tar"
        path.write_bytes(content)
        with pytest.raises(errors.UserError, match=f"{name}.tar (cannot be read|holds no images)"):
            tars.open_tars(str(path), "")
    make(tmp_path / "packed.tar", {"a.jpg": b"x", "a.cls": b"1"}, "w:gz")
    with pytest.raises(errors.UserError, match="cannot be read as an uncompressed tar"):
        tars.open_tars(str(tmp_path / "packed.tar"), "")
    # A tar that shrinks while it is used: the image is unreadable, the others are not.
    opened = tars.open_tars(place, "").train
    os.truncate(tmp_path / "tars" / "train-001.tar", 3000)
    with pytest.raises(errors.UserError, match="train-001.tar ends before"):
        opened[11]
    assert opened[0].label == 0
