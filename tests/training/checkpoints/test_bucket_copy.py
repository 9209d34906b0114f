"""Mirror: a step counts once it is whole, the keep rule holds, and changed files are noticed."""

import json

import buckets
import pytest

from resgen_jax.core import errors
from resgen_jax.io import paths
from resgen_jax.training.checkpoints import bucket_copy, checkpoint, restoring


@pytest.fixture
def made(monkeypatch):
    """A mirror in a fake bucket, and a function that saves a step as orbax would."""
    buckets.fake(monkeypatch)
    found = bucket_copy.Mirror(paths.of("s3://bucket/run"), checkpoint._keeper(2, 10))

    def save(step):
        for name in ("a", "b/c"):
            paths.write(found.saving / str(step) / name, f"{name} of {step}".encode())

    yield found, save
    found.close()


def test_newest_and_multiples_are_kept(made):
    found, save = made
    for step in (5, 10, 15, 20, 25, 30, 35):
        save(step)
        found.publish(step)
    assert bucket_copy.steps(found.directory) == [10, 20, 30, 35]
    assert paths.names_in(found.directory) == ["10", "20", "30", "35"]


def test_step_does_not_count_until_its_last_file_is_there(made, monkeypatch):
    found, save = made
    save(1)
    found.publish(1)
    upload = paths.upload

    def fail(file, place):
        if place.name == "c":
            raise ConnectionError
        upload(file, place)

    with monkeypatch.context() as patch:
        patch.setattr(paths, "upload", fail)
        save(2)
        with pytest.raises(ConnectionError):
            found.publish(2)
    assert bucket_copy.steps(found.directory) == [1]
    found.publish(2)
    assert bucket_copy.steps(found.directory) == [1, 2]


def test_fetched_files_are_those_that_were_saved(made, tmp_path):
    found, save = made
    save(1)
    found.publish(1)
    bucket_copy.fetch(found.directory / "1", tmp_path / "1")
    assert (tmp_path / "1" / "b" / "c").read_text() == "b/c of 1"
    paths.write(found.directory / "1" / "a", b"A of 1")
    with pytest.raises(OSError, match="a is not the file that was saved"):
        bucket_copy.fetch(found.directory / "1", tmp_path / "1")


def test_bucket_that_does_not_answer_is_no_damage(made, tmp_path, monkeypatch):
    found, save = made
    save(1)
    found.publish(1)

    def fail(place, file):
        raise ConnectionError("gone")

    monkeypatch.setattr(paths, "fetch", fail)
    with pytest.raises(bucket_copy.UnreachableError, match="cannot read s3://bucket/run/1/"):
        bucket_copy.fetch(found.directory / "1", tmp_path / "1")
    with pytest.raises(bucket_copy.UnreachableError):
        restoring.newest_good(found.directory, [1], restoring.loader({}), warn=pytest.fail)


def test_forgotten_step_counts_no_longer(made):
    found, save = made
    save(1)
    found.publish(1)
    found.forget(1)
    assert bucket_copy.steps(found.directory) == []
    assert restoring.steps("s3://bucket/run") == []


@pytest.mark.parametrize("name", ["../../victim", "/etc/hostname", "a/../../victim", "a//b"])
def test_list_of_files_that_leads_out_of_the_checkpoint_is_refused(made, tmp_path, name):
    found, save = made
    save(1)
    found.publish(1)
    listed = json.loads((found.directory / "1" / bucket_copy.LIST).read_text())
    paths.write(
        found.directory / "1" / bucket_copy.LIST, json.dumps(listed | {name: [1, "0"]}).encode()
    )
    with pytest.raises(errors.UserError, match="names the file .*stays in its folder"):
        bucket_copy.fetch(found.directory / "1", tmp_path / "into" / "1")
    assert not (tmp_path / "into" / "1").exists()
