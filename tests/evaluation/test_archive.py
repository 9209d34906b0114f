"""NPZ files row by row: NumPy reads what is written, and what NumPy wrote is read in place."""

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import archive


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (7, 3, 4, 3), dtype=np.uint8)


def test_numpy_reads_what_was_written_in_rows(tmp_path, pixels):
    path = tmp_path / "deep" / "samples.npz"
    with archive.writing(path) as out:
        out.array("seed", 3)
        with out.rows("arr_0", np.uint8, pixels.shape) as append:
            append(pixels[:4])
            append(pixels[4:])
        out.array("name", "café")
    with np.load(path) as found:
        np.testing.assert_array_equal(found["arr_0"], pixels)
        assert (int(found["seed"]), str(found["name"])) == (3, "café")
    assert [file.name for file in path.parent.iterdir()] == ["samples.npz"]


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_wrote_is_read(tmp_path, pixels, save):
    path = tmp_path / "samples.npz"
    save(path, pixels, turned=np.asfortranarray(pixels[0]), none=pixels[:0])
    assert archive.names(path) == ("turned", "none", "arr_0")
    found = archive.read(path, "arr_0")
    assert isinstance(found, np.memmap) == (save is np.savez)
    np.testing.assert_array_equal(found, pixels)
    np.testing.assert_array_equal(archive.read(path, "turned"), pixels[0])
    assert archive.read(path, "none").shape == (0, 3, 4, 3)


def test_unfinished_files_leave_nothing(tmp_path, pixels):
    path = tmp_path / "samples.npz"
    path.write_bytes(b"before")
    with (
        pytest.raises(ValueError, match="lacks 36 of its values"),
        archive.writing(path) as out,
        out.rows("arr_0", np.uint8, pixels.shape) as append,
    ):
        append(pixels[:6])
    assert path.read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 1


def test_only_one_process_writes(tmp_path, pixels):
    with archive.writing(tmp_path / "x.npz", is_on=False) as out:
        out.array("arr_0", pixels)
    assert not list(tmp_path.iterdir())


def test_mistakes_are_told_in_one_line(tmp_path, pixels):
    text = tmp_path / "text.npz"
    text.write_text("not an archive")
    objects = tmp_path / "objects.npz"
    np.savez(objects, arr_0=np.array([{}], object), images=pixels)
    damaged = tmp_path / "damaged.npz"
    np.savez_compressed(damaged, pixels)
    content = bytearray(damaged.read_bytes())
    content[60:80] = b"\xff" * 20  # no compressed stream begins so
    damaged.write_bytes(content)
    for call, message in (
        (lambda: archive.read(damaged, "arr_0"), "cannot be read .*write the file again"),
        (lambda: archive.names(tmp_path / "no.npz"), "there is no file"),
        (lambda: archive.names(text), "cannot be read as an NPZ file"),
        (lambda: archive.read(objects, "mu"), "no array 'mu'; it holds arr_0, images"),
        (lambda: archive.read(objects, "arr_0"), "it holds Python objects"),
    ):
        with pytest.raises(errors.UserError, match=message) as told:
            call()
        assert "\n" not in str(told.value)


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(errors.UserError, match="cannot write"),
        archive.writing(tmp_path / "file" / "x.npz") as out,
    ):
        out.array("seed", 0)
