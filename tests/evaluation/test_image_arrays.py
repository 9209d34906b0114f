"""Images into arrays and onto sheets: what was saved is loaded again; mistakes in one line."""

import numpy as np
import pytest
from PIL import Image

import resgen_jax
from resgen_jax.core import errors


@pytest.fixture
def folder(tmp_path):
    """Two gray images in folders, of values 0 and 255, the darker one first by name."""
    for name, value in (("b/1.png", 255), ("a/2.png", 0)):
        (tmp_path / name).parent.mkdir()
        Image.fromarray(np.full((6, 4), value, np.uint8)).save(tmp_path / name)
    return tmp_path


def test_images_come_in_the_order_of_their_names_from_minus_one_to_one(folder):
    images = resgen_jax.load_images(folder, 2)
    expected = np.broadcast_to(np.array([-1, 1], np.float32)[:, None, None, None], (2, 2, 2, 3))
    np.testing.assert_array_equal(images, expected)
    assert images.dtype == np.float32
    named = resgen_jax.load_images([folder / "b/1.png", str(folder / "a/2.png")], 2)
    np.testing.assert_array_equal(named, expected[::-1])
    one = resgen_jax.load_images(folder / "b/1.png", 2, channels=1)
    np.testing.assert_array_equal(one, np.ones((1, 2, 2, 1), np.float32))


@pytest.mark.parametrize(
    ("paths", "options", "match"),
    [
        ("nowhere", {}, "nowhere cannot be read"),
        ([], {}, "there are no paths"),
        ("empty", {}, "holds no images"),
        ("a", {"channels": 2}, "channels 2; expected"),
        ("a", {"image_size": 0}, "image_size is 0"),
        ("a", {"crop": "centre"}, "did you mean 'center'"),
    ],
)
def test_what_cannot_be_loaded_is_told(folder, paths, options, match):
    (folder / "empty").mkdir()
    place = [] if paths == [] else folder / paths
    with pytest.raises(errors.UserError, match=match):
        resgen_jax.load_images(place, **{"image_size": 2} | options)


@pytest.mark.parametrize("dtype", ["uint8", "float32"])
def test_a_grid_shows_each_image_where_it_belongs(tmp_path, dtype):
    values = np.array([0, 255, 255], np.uint8)
    images = np.broadcast_to(values[:, None, None, None], (3, 80, 80, 1))
    if dtype == "float32":
        images = images.astype(np.float32) / 127.5 - 1
    path = resgen_jax.save_grid(images, tmp_path / "new" / "grid.png", columns=2)
    sheet = np.asarray(Image.open(path).convert("L"))
    is_dark = np.argwhere(sheet == 0)
    assert len(is_dark) == 80 * 80  # the first tile, and no other
    assert (is_dark.max(axis=0) - is_dark.min(axis=0) == 79).all()
    assert (is_dark.max(axis=0) < np.array(sheet.shape) / 2).all()


@pytest.mark.parametrize(
    ("images", "name", "match"),
    [
        (np.zeros((4, 4, 3), np.uint8), "x.png", r"pass image\[None\]"),
        (np.zeros((0, 4, 4, 3), np.uint8), "x.png", "at least one"),
        (np.full((1, 4, 4, 3), 1.5), "x.png", r"from 1.5 to 1.5; expected float in \[-1, 1\]"),
        (np.full((1, 4, 4, 3), np.nan), "x.png", "from nan"),
        (np.zeros((1, 4, 4, 3), np.int32), "x.png", "int32"),
        (np.zeros((1, 4, 4, 3), np.uint8), "x", "call it x.png"),
    ],
)
def test_what_is_no_picture_is_refused(tmp_path, images, name, match):
    with pytest.raises(errors.UserError, match=match):
        resgen_jax.save_grid(images, tmp_path / name)
