"""Images: fitting, transparency, orientation, bit depth, and files that cannot be read."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import images, views


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


def test_kinds_of_pixels_all_become_rgb(tmp_path):
    pixels = random_image(12, 12, 3)
    rgb = Image.fromarray(pixels)
    expected = pixels.astype(int)
    exact = {"palette": rgb.quantize(256), "bitmap": rgb.convert("1")}
    for name, image in exact.items():
        image.save(tmp_path / f"{name}.png")
        found = images.read(tmp_path / f"{name}.png", 12, 3)
        np.testing.assert_array_equal(found, np.asarray(image.convert("RGB")))
    rgb.convert("CMYK").save(tmp_path / "cmyk.tif")  # TIFF loses nothing; JPEG below
    found = images.read(tmp_path / "cmyk.tif", 12, 3).astype(int)
    assert np.abs(found - expected).max() <= 1
    flat = Image.new("RGB", (32, 32), (200, 30, 60)).convert("CMYK")
    flat.save(tmp_path / "cmyk.jpg", quality=100)
    found = images.read(tmp_path / "cmyk.jpg", 16, 3).reshape(-1, 3).astype(int)
    assert np.abs(found - [200, 30, 60]).max() <= 6
    luma = np.asarray(rgb.convert("L"))
    assert np.abs(images.read(tmp_path / "cmyk.tif", 12, 1)[..., 0].astype(int) - luma).max() <= 2


def test_transparency_of_every_kind_becomes_white(tmp_path):
    clear = Image.new("P", (4, 4), 0)
    clear.putpalette([0, 0, 255, 255, 0, 0] + [0] * 762)
    clear.paste(1, (0, 0, 4, 2))
    clear.save(tmp_path / "palette.png", transparency=0)
    found = images.read(tmp_path / "palette.png", 4, 3)
    np.testing.assert_array_equal(found[:2], np.broadcast_to([255, 0, 0], (2, 4, 3)))
    np.testing.assert_array_equal(found[2:], 255)
    gray = Image.new("LA", (4, 4), (40, 255))
    gray.putpixel((0, 0), (40, 0))
    gray.save(tmp_path / "gray.png")
    found = images.read(tmp_path / "gray.png", 4, 3)
    assert found[0, 0].tolist() == [255] * 3
    assert found[1, 1].tolist() == [40] * 3


def test_one_pixel_wide_images_are_read():
    column = np.arange(0, 200, 2, dtype=np.uint8)[:, None]  # 100 rows of one pixel
    for crop in views.CROPS:
        image = images.upright(Image.fromarray(column), 3)
        found = views.render(image, views.PLAIN, 16, crop)
        assert found.shape == (16, 16, 3)
        assert np.abs(found[7:9].astype(int) - 100).max() <= 3  # the middle of the column


def test_damaged_orientation_counts_as_upright(tmp_path):
    pixels = random_image(8, 8, 3)
    exif = Image.Exif()
    exif[0x0112] = 77
    Image.fromarray(pixels).save(tmp_path / "odd.png", exif=exif)
    np.testing.assert_array_equal(images.read(tmp_path / "odd.png", 8, 3), pixels)


def test_large_images_are_shrunk_first_and_look_the_same(monkeypatch):
    ramp = np.add.outer(np.arange(400) // 4, np.arange(640) // 5).astype(np.uint8)
    for mode in ("L", "RGB", "RGBA", "CMYK", "LA"):
        image = Image.fromarray(ramp).convert(mode)
        monkeypatch.setattr(images, "LARGE", 2**24)
        expected = images.fit(image, 16, 3).astype(int)
        monkeypatch.setattr(images, "LARGE", 1000)
        assert min(images.upright(image, 3, 32).size) == 33  # a twelfth, 32 at least
        assert np.abs(images.fit(image, 16, 3) - expected).max() <= 2


def test_one_large_image_is_unpacked_at_a_time(tmp_path, monkeypatch):
    Image.new("RGB", (40, 30)).save(tmp_path / "x.png")
    seen = []
    upright = images.upright

    def watch(*arguments):
        seen.append(images.ONE_LARGE.locked())
        return upright(*arguments)

    monkeypatch.setattr(images, "upright", watch)
    images.read(tmp_path / "x.png", 8, 3)
    monkeypatch.setattr(images, "LARGE", 1000)
    images.read(tmp_path / "x.png", 8, 3)
    assert seen == [False, True]
    assert not images.ONE_LARGE.locked()
    assert Image.core.get_block_size() > 2**25  # glibc's DEFAULT_MMAP_THRESHOLD_MAX


def test_formats_that_are_programs_are_not_opened(tmp_path):
    (tmp_path / "x.jpg").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EOF\n")
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.format == "EPS"
    with pytest.raises(images.UnreadableImage, match="no image format known here"):
        images.read(tmp_path / "x.jpg", 8, 3)


def test_images_of_too_many_pixels_are_refused_before_they_are_unpacked(tmp_path, monkeypatch):
    Image.new("1", (8, 8)).save(tmp_path / "bomb.png")
    content = bytearray((tmp_path / "bomb.png").read_bytes())
    content[16:24] = struct.pack(">II", 40_000, 30_000)  # says that it has 1,200 megapixels
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (tmp_path / "bomb.png").write_bytes(content)
    with pytest.raises(images.UnreadableImage, match="bomb.png .*more than 134,217,728 pixels"):
        images.read(tmp_path / "bomb.png", 32, 3)
    Image.new("1", (101, 100)).save(tmp_path / "many.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 10_000)
    with pytest.raises(images.UnreadableImage, match="many.png .*more than 10,000 pixels"):
        images.read(tmp_path / "many.png", 32, 3)


def test_floating_point_and_missing_files_are_named(tmp_path):
    Image.fromarray(np.zeros((4, 4), np.float32)).save(tmp_path / "float.tif")
    with pytest.raises(images.UnreadableImage, match="float.tif .*floating-point"):
        images.read(tmp_path / "float.tif", 4, 3)
    with pytest.raises(images.UnreadableImage, match="gone.png .*No such file"):
        images.read(tmp_path / "gone.png", 4, 3)


def test_web_page_named_jpg_is_told_as_such(tmp_path):
    (tmp_path / "x.jpg").write_text("<!DOCTYPE html><html><body>404</body></html>")
    with pytest.raises(images.UnreadableImage, match="no image format known here"):
        images.read(tmp_path / "x.jpg", 4, 3)


def test_bytes_to_unit_and_back_is_exact():
    every = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    unit = images.to_unit(every)
    assert unit.min() == -1
    assert unit.max() == 1
    np.testing.assert_array_equal(images.to_bytes(unit), every)
    np.testing.assert_array_equal(
        images.to_bytes(np.full((1, 1, 1), 7.0, np.float32)), np.full((1, 1, 1), 255)
    )
