"""Images: fitting, transparency, orientation, bit depth, and files that cannot be read."""

import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import images


def random_image(height, width, channels, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


@pytest.mark.parametrize(("suffix", "options"), [("png", {}), ("webp", {"lossless": True})])
def test_lossless_image_of_the_right_size_is_read_as_it_is(tmp_path, suffix, options):
    pixels = random_image(16, 16, 3)
    Image.fromarray(pixels).save(tmp_path / f"x.{suffix}", **options)
    np.testing.assert_array_equal(images.read(tmp_path / f"x.{suffix}", 16, 3), pixels)


def test_crop_is_centred_along_the_longer_side():
    pixels = random_image(8, 20, 3)
    np.testing.assert_array_equal(images.fit(Image.fromarray(pixels), 8, 3), pixels[:, 6:14])
    np.testing.assert_array_equal(
        images.fit(Image.fromarray(pixels.transpose(1, 0, 2)), 8, 3),
        pixels.transpose(1, 0, 2)[6:14],
    )


def test_resize_keeps_a_linear_ramp():
    # A symmetric, normalised filter reproduces a linear function away from the borders.
    ramp = np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :] * 4, (64, 64))
    small = images.fit(Image.fromarray(np.ascontiguousarray(ramp)), 16, 1)[..., 0]
    expected = ramp[0].reshape(16, 4).astype(float).mean(axis=1)
    np.testing.assert_allclose(small[:, 3:-3], np.tile(expected[3:-3], (16, 1)), atol=1.0)


def test_gray_becomes_equal_colours_and_colours_become_luma():
    gray = random_image(8, 8, 1)
    rgb = images.fit(Image.fromarray(gray[..., 0]), 8, 3)
    np.testing.assert_array_equal(rgb, np.repeat(gray, 3, axis=-1))
    red = np.zeros((8, 8, 3), np.uint8)
    red[..., 0] = 255
    np.testing.assert_array_equal(images.fit(Image.fromarray(red), 8, 1), 76)  # 0.299 * 255


def test_transparent_parts_become_white():
    pixels = np.zeros((4, 4, 4), np.uint8)
    pixels[:2, :, 3] = 255
    fitted = images.fit(Image.fromarray(pixels, "RGBA"), 4, 3)
    np.testing.assert_array_equal(fitted[:2], 0)
    np.testing.assert_array_equal(fitted[2:], 255)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path):
    wide = np.array([[0, 257], [25700, 65535]], np.uint16)
    Image.fromarray(wide).save(tmp_path / "wide.png")
    np.testing.assert_array_equal(
        images.read(tmp_path / "wide.png", 2, 1)[..., 0], [[0, 1], [100, 255]]
    )


def test_orientation_in_the_file_is_followed(tmp_path):
    pixels = random_image(8, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # stored turned: to be shown after a quarter turn clockwise
    Image.fromarray(pixels).save(tmp_path / "turned.png", exif=exif)
    np.testing.assert_array_equal(images.read(tmp_path / "turned.png", 8, 3), np.rot90(pixels, -1))


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_truncated_and_foreign_files_are_named_in_one_line(tmp_path, suffix):
    path = tmp_path / f"broken.{suffix}"
    Image.fromarray(random_image(64, 64, 3)).save(path)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", b"not an image at all", whole[:20]):
        path.write_bytes(content)
        with pytest.raises(images.UnreadableImage, match=f"broken.{suffix} cannot be read") as info:
            images.read(path, 32, 3)
        assert "\n" not in str(info.value)
        assert isinstance(info.value, errors.UserError)


def test_bytes_to_unit_and_back_is_exact():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    unit = images.to_unit(every)
    assert unit.min() == -1
    assert unit.max() == 1
    np.testing.assert_array_equal(images.to_bytes(unit), every)
    np.testing.assert_array_equal(
        images.to_bytes(np.full((1, 1, 1), 7.0, np.float32)), np.full((1, 1, 1), 255)
    )
