"""Images from files: arrays and folders alike, and one line for whatever is not images."""

import json

import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import images
from resgen_jax.evaluation import samples


@pytest.fixture
def pixels():
    return np.random.default_rng(0).integers(0, 256, (9, 6, 5, 3), dtype=np.uint8)


def all_of(source):
    return np.stack([source[index]["images"] for index in range(len(source))])


def test_arrays_come_in_their_order_and_gray_as_colour(tmp_path, pixels):
    np.savez(tmp_path / "adm.npz", pixels)
    np.savez_compressed(tmp_path / "ours.npz", codes=np.zeros(3), images=pixels[..., :1])
    source = samples.open_images(str(tmp_path / "adm.npz"))
    np.testing.assert_array_equal(all_of(source), pixels)
    assert source.image_shape == (6, 5, 3)
    gray = all_of(samples.open_images(str(tmp_path / "ours.npz")))
    np.testing.assert_array_equal(gray, np.repeat(pixels[..., :1], 3, axis=-1))


def test_folders_come_whole_in_one_shuffled_order(tmp_path, pixels):
    for index, image in enumerate(pixels):
        (tmp_path / "abc"[index // 3]).mkdir(exist_ok=True)
        Image.fromarray(image).save(tmp_path / "abc"[index // 3] / f"{index}.png")
    found = all_of(samples.open_images(str(tmp_path)))
    order = [int(np.flatnonzero((pixels == image).all(axis=(1, 2, 3)))[0]) for image in found]
    assert sorted(order) == list(range(9))
    assert order != list(range(9))
    np.testing.assert_array_equal(all_of(samples.open_images(str(tmp_path))), found)
    fitted = samples.open_images(str(tmp_path), image_size=4)
    assert all_of(fitted).shape == (9, 4, 4, 3)


def test_files_are_read_as_those_of_training(tmp_path, pixels):
    levels = np.arange(30, dtype=np.uint16).reshape(6, 5) * 2000  # 16 bits
    alpha = np.full((6, 5, 1), 0, np.uint8)
    turned = Image.fromarray(np.rot90(pixels[0]).copy())  # lies on its side, and says so
    exif = turned.getexif()
    exif[images.ORIENTATION] = 6
    for name, image, settings, expected in (
        ("deep", Image.fromarray(levels), {}, np.repeat(levels[..., None] // 257, 3, axis=-1)),
        ("clear", Image.fromarray(np.dstack([pixels[1], alpha])), {}, np.full((6, 5, 3), 255)),
        ("turned", turned, {"exif": exif}, pixels[0]),
    ):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "x.png", **settings)
        np.testing.assert_array_equal(
            all_of(samples.open_images(str(tmp_path / name)))[0], expected
        )


def test_files_tell_how_their_images_were_drawn(tmp_path, pixels):
    settings = {"num_steps": 8, "guidance_scale": 1.5}
    for array, expected in (
        (json.dumps(settings), settings),
        ("fast", None),
        ("[8]", None),
        (np.array({}, object), None),
    ):
        np.savez(tmp_path / "x.npz", pixels, sampler=array)
        assert samples.sampler_of(str(tmp_path / "x.npz")) == expected
    np.savez(tmp_path / "x.npz", pixels)
    assert samples.sampler_of(str(tmp_path / "x.npz")) is None
    assert samples.sampler_of(str(tmp_path)) is None


def test_what_is_not_images_is_told_in_one_line(tmp_path, pixels):
    floats = pixels.astype(np.float32) / 127.5 - 1
    broken = np.where(pixels > 250, np.nan, floats)
    for array, message in (
        (floats, r"is float32 with values from -1 to 1; expected uint8 from 0 to 255"),
        (broken, "is float32 and holds NaN or infinity; expected uint8"),
        (pixels.astype(np.int32) + 20, r"is int32 with values from 20 to 275; expected uint8"),
        (pixels[0], r"has shape \(6, 5, 3\); expected images, rows, columns and colours"),
        (np.moveaxis(pixels, -1, 1), r"has shape \(9, 3, 6, 5\)"),
        (pixels[:0], "is empty"),
    ):
        np.savez(tmp_path / "x.npz", array)
        with pytest.raises(errors.UserError, match=message) as told:
            samples.open_images(str(tmp_path / "x.npz"))
        assert str(told.value).startswith("arr_0 of ")
        assert "\n" not in str(told.value)


def test_bad_folders_are_told_in_one_line(tmp_path, pixels):
    with pytest.raises(errors.UserError, match="holds no images"):
        samples.open_images(str(tmp_path))
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    Image.fromarray(pixels[0, :5]).save(tmp_path / "b.png")
    with pytest.raises(errors.UserError, match="samples have to be of one size"):
        all_of(samples.open_images(str(tmp_path)))
    (tmp_path / "b.png").write_bytes(b"\x89PNG nothing")
    with pytest.raises(errors.UserError, match=r"b\.png cannot be read as an image \(no image"):
        all_of(samples.open_images(str(tmp_path)))


def test_a_picture_of_samples_is_none_of_them(tmp_path, pixels):
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    Image.fromarray(pixels[0]).save(tmp_path / "samples-2.png")
    assert len(samples.open_images(str(tmp_path))) == 2
    np.savez(tmp_path / "samples-2.npz", pixels)
    with pytest.raises(errors.UserError, match=r"name the file .* e\.g\. .*samples-2\.npz"):
        samples.open_images(str(tmp_path))
    Image.fromarray(pixels[0]).save(tmp_path / "samples.png")
    np.savez(tmp_path / "samples.npz", pixels)
    with pytest.raises(errors.UserError, match=r"e\.g\. .*/samples\.npz$"):
        samples.open_images(str(tmp_path))


def test_files_of_too_many_pixels_are_refused_unread(tmp_path, pixels, monkeypatch):
    Image.fromarray(pixels[0]).save(tmp_path / "a.png")
    monkeypatch.setattr(images, "MAX_PIXELS", 29)
    with pytest.raises(errors.UserError, match=r"a\.png .*more than 29 pixels"):
        samples.open_images(str(tmp_path))
