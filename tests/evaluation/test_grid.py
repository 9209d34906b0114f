"""Every image lies where the layout says, pixel by pixel, and nothing overlaps it."""

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import grid


def random_images(count, side, channels):
    return np.random.default_rng(0).integers(0, 256, (count, side, side, channels), np.uint8)


@pytest.mark.parametrize(("side", "channels", "scale"), [(8, 1, 10), (32, 3, 2), (64, 3, 1)])
@pytest.mark.parametrize("names", [False, True])
def test_image_lies_at_its_place_with_square_pixels(side, channels, scale, names):
    images = random_images(7, side, channels)
    text = {
        "row_names": ["a", "a long name\nof two lines", "c"] if names else [],
        "column_names": ["step 1\n2 %", "x" * 30, "y"] if names else [],
        "title": "A title much wider than the three columns below it, to see" if names else "",
        "subtitle": "one line\nand another" if names else "",
    }
    sheet = np.asarray(grid.image_grid(images, 3, **text))
    layout = grid.lay_out(images.shape, 3, **text)
    assert layout.tile == (side * scale, side * scale)
    assert sheet.shape == (layout.size[1], layout.size[0], 3)
    for number, image in enumerate(images):
        x, y = layout.corner(number // 3, number % 3)
        found = sheet[y : y + side * scale, x : x + side * scale]
        shown = np.repeat(np.repeat(image, scale, axis=0), scale, axis=1)
        np.testing.assert_array_equal(found, np.broadcast_to(shown, found.shape))


def test_names_stay_clear_of_tiles_and_edges():
    images = np.zeros((6, 8, 8, 1), np.uint8)
    text = {
        "row_names": ["first row", "second\nrow"],
        "column_names": ["a name wider than its tile", "two\nlines", "c"],
        "title": "Title",
        "subtitle": "Subtitle",
    }
    sheet = np.asarray(grid.image_grid(images, 3, **text))
    is_blank = (sheet == 255).all(axis=-1)
    # Nothing is written on the outermost pixels, where text would be cut.
    for edge in (is_blank[:8], is_blank[-8:], is_blank[:, :8], is_blank[:, -8:]):
        assert edge.all()
    # Around every tile there is a frame of paper.
    layout = grid.lay_out(images.shape, 3, **text)
    for row in range(2):
        for column in range(3):
            x, y = layout.corner(row, column)
            width, height = layout.tile
            assert is_blank[y - 2 : y, x : x + width].all()
            assert is_blank[y : y + height, x - 2 : x].all()
            assert is_blank[y + height : y + height + 2, x : x + width].all()


def test_large_images_are_shrunk():
    assert grid.tile_size(256, 256) == (grid.MAX_TILE, grid.MAX_TILE)
    assert grid.tile_size(512, 256) == (grid.MAX_TILE // 2, grid.MAX_TILE)
    images = np.full((1, 256, 256, 3), 77, np.uint8)
    layout = grid.lay_out(images.shape, 1)
    sheet = np.asarray(grid.image_grid(images, 1))
    x, y = layout.corner(0, 0)
    assert (sheet[y : y + grid.MAX_TILE, x : x + grid.MAX_TILE] == 77).all()


@pytest.mark.parametrize(("count", "most"), [(5, 12), (12, 12), (32, 12), (1000, 20), (1, 3)])
def test_pick_keeps_the_ends_and_the_order(count, most):
    chosen = grid.pick(count, most)
    assert len(chosen) == min(count, most)
    assert chosen[0] == 0
    assert chosen[-1] == count - 1
    assert chosen == sorted(set(chosen))


def test_long_names_are_cut_visibly_and_short_ones_not():
    assert grid.shorten("seven") == "seven"
    cut = grid.shorten("a class with quite a long and descriptive name")
    assert cut.endswith("…")
    assert grid.text_size(cut, grid.NAME)[0] <= grid.MAX_NAME_WIDTH


@pytest.mark.parametrize(
    ("shape", "columns", "names", "message"),
    [
        ((0, 8, 8, 1), 3, (), "0 images"),
        ((2, 8, 8, 4), 3, (), "4 channels"),
        ((2, 8, 8, 1), 0, (), "0 columns"),
        ((2, 8, 8, 1), 2, ("a", "b"), "2 row names for 1 rows"),
    ],
)
def test_what_makes_no_picture_is_refused(shape, columns, names, message):
    with pytest.raises(errors.UserError, match=message):
        grid.image_grid(np.zeros(shape, np.uint8), columns, row_names=names)
