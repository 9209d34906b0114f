"""Patterns: braces as shells expand them, and splits by folder, by name and by the user's word."""

import itertools
import subprocess

import image_files
import pytest

from resgen_jax.core import errors
from resgen_jax.data import patterns


@pytest.mark.parametrize(
    "pattern",
    [
        *("a{000..011}.tar", "{x,y}{1..3}", "{a,b}-{08..10}-{c,d}", "plain", "{alone}", "a{,b}"),
        *("{3..1}", "{1..010}", "{0..0}"),
    ],
)
def test_braces_expand_as_in_bash(pattern):
    done = subprocess.run(
        ["bash", "-c", f"printf '%s\\n' {pattern}"], capture_output=True, text=True, check=True
    )
    assert patterns.expand(pattern) == done.stdout.splitlines()


def split(path, held_out=""):
    train, other = patterns.split_files(str(path), str(held_out), (".tar",), "tar files")
    return [p.name for p in train], None if other is None else [p.name for p in other]


def test_directories_are_split_by_folders_then_by_names_then_not_at_all(tmp_path):
    by_folder = image_files.touch(
        tmp_path / "a", "train/1.tar", "train/0.tar", "valid/2.tar", "test/3.tar"
    )
    assert split(by_folder) == (["0.tar", "1.tar"], ["2.tar"])
    names = ("train-0.tar", "train-1.tar", "test-0.tar", "val-0.tar", ".x.tar", "train.txt")
    by_name = image_files.touch(tmp_path / "b", *names)
    assert split(by_name) == (["train-0.tar", "train-1.tar"], ["val-0.tar"])
    assert split(image_files.touch(tmp_path / "c", "0.tar", "1.tar")) == (["0.tar", "1.tar"], None)
    assert split(by_name / "train-{0..1}.tar", by_name / "te*.tar") == (
        ["train-0.tar", "train-1.tar"],
        ["test-0.tar"],
    )
    assert split(by_name / "tr*") == (["train-0.tar", "train-1.tar"], None)
    assert split(by_name / "train-0.tar") == (["train-0.tar"], None)


def test_names_of_splits_are_read_in_any_case_and_train_alone_is_all_there_is(tmp_path):
    by_folder = image_files.touch(tmp_path / "a", "Training/1.tar", "Testing/0.tar")
    assert split(by_folder) == (["1.tar"], ["0.tar"])
    by_name = image_files.touch(tmp_path / "b", "TRAIN-0.tar", "Val-0.tar", "Test-0.tar")
    assert split(by_name) == (["TRAIN-0.tar"], ["Val-0.tar"])
    assert split(image_files.touch(tmp_path / "c", "train/0.tar", "train/1.tar")) == (
        ["0.tar", "1.tar"],
        None,
    )
    assert split(image_files.touch(tmp_path / "d", "train/0.tar", "1.tar")) == (["1.tar"], None)


def test_what_is_there_under_its_very_name_is_no_pattern(tmp_path):
    odd = tmp_path / "[old] {a,b}" / "{0..1}*?"
    image_files.touch(
        odd, "x-0.tar", "x-1.tar", "x-{0..1}.tar", "[y].tar", "y.tar", "[z]/0.tar", "[z]/1.tar"
    )
    assert split(odd / "x-{0..1}.tar") == (["x-{0..1}.tar"], None)
    (odd / "x-{0..1}.tar").unlink()
    assert split(odd / "x-{0..1}.tar") == (["x-0.tar", "x-1.tar"], None)
    assert split(odd / "[y].tar") == (["[y].tar"], None)
    assert split(odd / "[x-y]*.tar") == (["x-0.tar", "x-1.tar", "y.tar"], None)
    assert split(odd / "[z]") == (["0.tar", "1.tar"], None)
    both = ["0.tar", "1.tar", "x-0.tar", "x-1.tar"]
    assert split(odd / "{[z]/,x-}*.tar") == (both, None)


def test_home_is_known_in_patterns(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(image_files.touch(tmp_path, "0.tar", "1.tar")))
    assert split("~") == split("~/*.tar") == split("~/{0..1}.tar") == (["0.tar", "1.tar"], None)


def test_absurdly_many_files_are_refused_at_once():
    for pattern in ("{0..99999999999}", "{0..9999}{0..9999}"):
        with pytest.raises(errors.UserError, match="stands for more than 65536 files"):
            patterns.expand(pattern)


def test_missing_files_are_named(tmp_path):
    image_files.touch(tmp_path, "train-0.tar")
    for path, named in (
        (tmp_path / "train-{0..3}.tar", "train-1.tar holds no tar files"),
        (tmp_path / "z*.tar", r"z\*.tar holds no tar files"),
        (tmp_path / "nowhere", "nowhere holds no tar files"),
        ("", "data.path is empty; set it to a directory of tar files"),
    ):
        with pytest.raises(errors.UserError, match=named) as info:
            split(path)
        assert "\n" not in str(info.value)


def test_order_is_that_of_the_braces_and_else_of_the_names(tmp_path):
    names = [f"{letter}{number}.tar" for letter, number in itertools.product("ab", (1, 0))]
    image_files.touch(tmp_path, *names)
    assert split(tmp_path / "{b,a}{0..1}.tar")[0] == ["b0.tar", "b1.tar", "a0.tar", "a1.tar"]
    assert split(tmp_path / "*.tar")[0] == sorted(names)
