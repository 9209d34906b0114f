"""A file is there whole or not at all, and its digest is that of its bytes."""

import hashlib

import pytest

from resgen_jax.io import files


def test_a_file_takes_its_place_once_it_is_written_and_what_fails_leaves_the_old_one(tmp_path):
    path = tmp_path / "figures.json"
    files.write(path, b"old")

    def fail():
        with files.replacing(path) as unfinished:
            unfinished.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [
        ("figures.json", b"old")
    ]
    with files.replacing(path) as unfinished:
        unfinished.write_bytes(b"new")
        files.sync(unfinished)
        assert path.read_bytes() == b"old"
    assert [(each.name, each.read_bytes()) for each in tmp_path.iterdir()] == [
        ("figures.json", b"new")
    ]


def test_a_block_that_writes_nothing_replaces_nothing(tmp_path):
    path = tmp_path / "kept"
    files.write(path, b"old")
    with pytest.raises(FileNotFoundError), files.replacing(path):
        pass
    assert path.read_bytes() == b"old"


@pytest.mark.parametrize("content", [b"", b"abc", bytes(range(256)) * 5000])
def test_the_digest_of_a_file_is_that_of_its_bytes(tmp_path, content):
    path = tmp_path / "file"
    path.write_bytes(content)
    assert files.sha256(path) == hashlib.sha256(content).hexdigest()


def test_a_known_digest(tmp_path):
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert files.sha256(path) == known
