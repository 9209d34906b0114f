"""Paths: a disk's stay pathlib's, files are whole or not there, and copies stand in for buckets."""

import pathlib

import buckets
import pytest
from etils import epath

from resgen_jax.core import errors
from resgen_jax.io import paths


@pytest.mark.parametrize("place", ["runs/a", "/a/b", "./a://b", "gs:", pathlib.Path("c")])
def test_paths_of_this_machine_are_as_pathlib_has_them(place):
    assert paths.of(place) == pathlib.Path(place)
    assert not isinstance(paths.of(place), epath.Path)
    assert paths.absolute(place) == pathlib.Path(place).absolute()
    assert not paths.is_remote(place)


@pytest.mark.parametrize("text", ["s3://", "s3:///a", "s3://b//a", "s3://b/../c", "s3://b/./c"])
def test_text_that_names_no_place_in_a_bucket_is_refused(text, monkeypatch):
    buckets.fake(monkeypatch)
    with pytest.raises(errors.UserError, match="names no place in a bucket"):
        paths.of(text)


@pytest.fixture(params=["disk", "bucket"])
def folder(request, tmp_path, monkeypatch):
    if request.param == "disk":
        return tmp_path
    buckets.fake(monkeypatch)
    return paths.of("s3://bucket/folder/")


def test_what_is_written_is_read_and_found(folder):
    file = folder / "below" / "a"
    for content in (b"first", b"second"):
        paths.write(file, content)
        assert file.read_bytes() == content
    assert paths.names_in(folder) == ["below"]
    assert paths.names_in(folder / "below") == ["a"]
    assert paths.names_in(folder / "nothing") == []
    with paths.reading(file) as copy:
        assert isinstance(copy, pathlib.Path)
        assert copy.read_bytes() == b"second"


def test_a_file_whose_writing_failed_is_not_in_the_bucket(monkeypatch):
    buckets.fake(monkeypatch)
    file = paths.of("s3://bucket/a")

    def fail_halfway():
        with paths.writing(file) as copy:
            copy.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail_halfway()
    assert not file.exists()
    with paths.writing(file) as copy:
        copy.write_bytes(b"whole")
    assert file.read_bytes() == b"whole"


def test_a_file_that_cannot_be_fetched_leaves_nothing_behind(monkeypatch, tmp_path):
    buckets.fake(monkeypatch)
    with pytest.raises(FileNotFoundError):
        paths.fetch(paths.of("s3://bucket/a"), tmp_path / "a")
    assert not list(tmp_path.iterdir())


def test_working_copies_are_told_apart_and_those_of_disks_are_the_disks(monkeypatch, tmp_path):
    buckets.fake(monkeypatch)
    monkeypatch.setenv(paths.VARIABLE, str(tmp_path))
    assert paths.working_copy(tmp_path, "read") == tmp_path
    places = [paths.of("s3://bucket/a"), paths.of("s3://bucket/b")]
    found = {paths.working_copy(place, use) for place in places for use in ("read", "written")}
    assert len(found) == 4
    assert all(copy.is_relative_to(tmp_path) for copy in found)


@pytest.mark.parametrize("name", ["a", "codes_train-00000-of-00001.array_record", "d/0f%3a", "ä b"])
def test_names_that_stay_in_their_folder_pass(name):
    paths.check_name(name, "files.json", in_folders=True)


@pytest.mark.parametrize("name", [3, None, "", "..", "a/..", "/a", "a/", "a\n", "a\\b", "x" * 256])
def test_names_that_lead_elsewhere_are_refused_with_the_file_they_stand_in(name):
    with pytest.raises(errors.UserError, match=r"^files.json names the file"):
        paths.check_name(name, "files.json", in_folders=True)


def test_text_may_name_the_home_and_a_path_that_is_one_is_taken_as_it_is(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert paths.of("~/a") == paths.absolute("~/a") == tmp_path / "a"
    assert paths.of(pathlib.Path("~/a")) == paths.of("./~/a") == pathlib.Path("~/a")
