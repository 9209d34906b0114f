"""Class names: one a line, or by folder as ImageNet's lists have them; words before the comma."""

import image_files
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.data import class_names, sources

SYNSETS = """n03126707 crane
n01440764 tench, Tinca tinca
n02012849 crane, bird
n01443537 goldfish, Carassius auratus
"""


def read(tmp_path, text, found):
    path = tmp_path / "names.txt"
    path.write_text(text)
    return class_names.read(str(path), found)


def test_one_name_a_line_is_taken_in_order(tmp_path):
    assert read(tmp_path, "ant\n\ntabby cat, tabby\n bee \n", ("0", "1", "2")) == (
        "ant",
        "tabby cat",
        "bee",
    )


def test_lines_by_folder_are_found_for_the_folders_there_are(tmp_path):
    assert read(tmp_path, SYNSETS, ("n01443537", "n01440764")) == ("goldfish", "tench")
    folders = ("n01440764", "n02012849", "n03126707")
    assert read(tmp_path, SYNSETS, folders) == ("tench", "crane", "crane (2)")


def test_numbered_classes_take_lines_by_folder_in_folder_order(tmp_path):
    assert read(tmp_path, SYNSETS, ("0", "1", "2", "3")) == (
        "tench",
        "goldfish",
        "crane",
        "crane (3)",
    )


def test_wrong_lists_are_told_in_one_line(tmp_path):
    with pytest.raises(errors.UserError, match="names 4 classes, but there are 2 .'n99'"):
        read(tmp_path, SYNSETS, ("n99", "n98"))
    with pytest.raises(errors.UserError, match="'nowhere', which cannot be read"):
        class_names.read("nowhere", ("a",))
    assert class_names.count("nowhere") == class_names.count("") == 0


def test_mark_of_byte_order_belongs_to_no_name(tmp_path):
    path = tmp_path / "names.txt"
    path.write_text("Käse\r\nbee\r\n", encoding="utf-8-sig")
    assert class_names.read(str(path), ("0", "1")) == ("Käse", "bee")
    path.write_text(SYNSETS, encoding="utf-8-sig")
    assert class_names.read(str(path), ("n03126707", "n01440764")) == ("crane", "tench")
    path.write_text("Käse\n", encoding="utf-16")
    with pytest.raises(errors.UserError, match="cannot be read .*expected a text file .UTF-8."):
        class_names.read(str(path), ("0",))


def test_one_name_too_few_for_labels_counted_from_one_is_told_with_the_way_out(tmp_path):
    with pytest.raises(errors.UserError, match="names 2 classes, but there are 3 .*count from 1"):
        read(tmp_path, "ant\nbee\n", ("0", "1", "2"))
    assert read(tmp_path, "none\nant\nbee\n", ("0", "1", "2")) == ("none", "ant", "bee")


def test_names_reach_the_dataset(tmp_path):
    image_files.make_folder(tmp_path / "folder")
    (tmp_path / "names.txt").write_text("bee Apis mellifera, honey bee\nant Formica\ncat Felis\n")
    spec = image_files.spec(path=str(tmp_path / "folder"), class_names=str(tmp_path / "names.txt"))
    assert sources.open_images(spec).class_names == ("Formica", "Apis mellifera", "Felis")


def test_folders_are_found_whatever_form_their_accents_have(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    for written, found in ((composed, decomposed), (decomposed, composed)):
        assert read(tmp_path, f"{written} coffee\nthe tea\n", ("the", found)) == ("tea", "coffee")


@pytest.mark.parametrize(
    ("classes", "expected"),
    [
        ("dog", [2]),
        (1, [1]),
        (np.int64(1), [1]),
        (["dog", 0, np.int32(1)], [2, 0, 1]),
        (np.array([2, 2]), [2, 2]),
        ("0", [1]),  # a name that reads as a number
        ((), []),
    ],
)
def test_classes_by_number_or_name(classes, expected):
    found = class_names.labels_of(classes, ("cat", "0", "dog"))
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == np.int32


@pytest.mark.parametrize(
    ("classes", "match"),
    [
        ("dgo", r"no class is named 'dgo'; near it: 'dog'$"),
        (["cat", "DOG"], "near it: 'dog'"),
        ("hound", "near it: 'greyhound'"),
        ("zebra", "known: cat, dog, greyhound$"),
        (3, "labels run from 3 to 3; expected 0 to 2"),
        (-1, "labels run from -1 to -1"),
        (1.5, "labels hold 1.5; expected whole numbers"),
        (True, "labels are bool"),
        (np.array([0.5]), "labels hold 0.5"),
        ([[0]], r"labels have the shape \(1, 1\)"),
        (None, "labels are object"),
    ],
)
def test_what_is_no_class_is_refused(classes, match):
    with pytest.raises(errors.UserError, match=match):
        class_names.labels_of(classes, ("cat", "dog", "greyhound"))


def test_of_many_classes_some_are_named():
    names = [f"{letter}{number}" for letter in "ab" for number in range(500)]
    hint = class_names.near("#", names)
    assert hint == f"known: {', '.join(names[:10])}, ... (1,000 in all)"
