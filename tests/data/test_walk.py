"""Image files below a folder: links, circles, what is left out and how it is told."""

import os

import image_files
import pytest

from resgen_jax.core import errors
from resgen_jax.data import walk


def names(root):
    return [path.relative_to(root).as_posix() for path in walk.find(root).files]


def test_images_are_known_by_their_suffix_whatever_its_case(tmp_path):
    kinds = ["jpg", "jpeg", "jpe", "jfif", "png", "webp", "bmp", "gif", "tif", "TIFF", "JPG"]
    image_files.touch(tmp_path, *(f"a/{number}.{kind}" for number, kind in enumerate(kinds)))
    image_files.touch(tmp_path, "a/list.txt", "a/jpg", "a/0.jpg.part", "Thumbs.db")
    found = walk.find(tmp_path)
    assert len(found.files) == len(kinds)
    assert found.left_out == walk.LeftOut(num_others=4)
    assert found.files == sorted(found.files)


def test_what_is_hidden_or_no_users_is_left_out_and_named(tmp_path):
    image_files.touch(tmp_path, "a/0.png", "a/._0.png", ".DS_Store", "0.png/1.png")
    image_files.touch(
        tmp_path, ".ipynb_checkpoints/0.png", "a/@eaDir/0.png/thumb.jpg", "__MACOSX/a/0.png"
    )
    found = walk.find(tmp_path)
    assert names(tmp_path) == ["0.png/1.png", "a/0.png"]
    assert walk.told(tmp_path, [found.left_out, walk.LeftOut(num_others=1)]) == (
        "; 1 file of another kind left out; 2 hidden files left out"
        "; folders left out: .ipynb_checkpoints, __MACOSX, a/@eaDir"
    )
    assert [folder.name for folder in walk.subfolders(tmp_path)] == ["0.png", "a"]


def test_many_folders_left_out_are_counted(tmp_path):
    image_files.touch(tmp_path, *(f"{name}/.x/0.png" for name in "abcdefg"))
    told = walk.told(tmp_path, [walk.find(tmp_path).left_out])
    assert told == "; folders left out: a/.x, b/.x, c/.x, d/.x, e/.x and 2 more"
    assert walk.told(tmp_path, [walk.LeftOut()]) == ""


def test_links_to_folders_are_followed_at_any_depth(tmp_path):
    root, store = tmp_path / "root", tmp_path / "store"
    image_files.touch(root, "b/0.png")
    image_files.touch(store, "a/1.png", "more/2.png")
    (root / "a").symlink_to(store / "a")
    (store / "a" / "part").symlink_to("../more")
    assert names(root) == ["a/1.png", "a/part/2.png", "b/0.png"]


def test_circles_of_links_end_and_each_class_has_a_folder_once(tmp_path):
    root = image_files.touch(tmp_path / "root", "a/0.png", "a/z/1.png", "b/2.png")
    (root / "a" / "self").symlink_to(root / "a")
    (root / "a" / "up").symlink_to(tmp_path)
    (root / "a" / "b").symlink_to(root / "b")  # and from there back to a
    (root / "a" / "again").symlink_to("z")
    (root / "b" / "a").symlink_to(root / "a")
    (root / "whole").symlink_to(".")
    assert names(root) == [
        "a/0.png",
        "a/b/2.png",
        "a/z/1.png",
        "b/2.png",
        "b/a/0.png",
        "b/a/z/1.png",
    ]


def test_linked_folders_do_not_multiply(tmp_path):
    """Each of 30 folders links to the next one twice: 2^30 ways lead to the last."""
    image_files.touch(tmp_path, "a/0/0.png", "far/30/0.png")
    for number in range(30):
        (tmp_path / "far" / str(number)).mkdir()
        for name in "xy":
            (tmp_path / "far" / str(number) / name).symlink_to(f"../{number + 1}")
    (tmp_path / "a" / "1").symlink_to("../far/0")
    assert sum(name.startswith("a/") for name in names(tmp_path)) == 2


def test_links_to_nothing_are_told_and_pipes_are_not_read(tmp_path):
    image_files.touch(tmp_path, "a/0.png")
    (tmp_path / "a" / "1.png").symlink_to("/nowhere/1.png")
    (tmp_path / "a" / "2.png").symlink_to("2.png")
    (tmp_path / "b").symlink_to("/nowhere/b")
    os.mkfifo(tmp_path / "a" / "3.png")
    assert names(tmp_path) == ["a/0.png", "a/1.png", "a/2.png"]
    assert walk.find(tmp_path).left_out == walk.LeftOut(1, folders=(tmp_path / "b",))


def test_a_folder_that_cannot_be_looked_into_is_named(tmp_path, monkeypatch):
    def refuse(place):
        raise PermissionError(13, "Permission denied")

    image_files.touch(tmp_path, "a/0.png")
    monkeypatch.setattr(walk.os, "scandir", refuse)
    with pytest.raises(errors.UserError, match=r"cannot look into the folder .*Permission denied"):
        walk.find(tmp_path)
    assert walk.subfolders(tmp_path / "nowhere") == []
