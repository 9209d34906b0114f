"""Views: ADM's crop as guided-diffusion writes it; crops and flips that numbers alone decide."""

import numpy as np
import pytest
from PIL import Image

from resgen_jax.core import errors
from resgen_jax.data import images, views


def photo(width, height, seed=0):
    """Smooth noise, so that every resampling differs from every other."""
    noise = np.random.default_rng(seed).integers(0, 256, (height // 4 + 2, width // 4 + 2, 3))
    small = Image.fromarray(noise.astype(np.uint8))
    return small.resize((width, height), Image.Resampling.BICUBIC)


def center_crop_arr(pil_image, image_size):
    """guided-diffusion's image_datasets.center_crop_arr (MIT), written down again."""
    while min(*pil_image.size) >= 2 * image_size:
        pil_image = pil_image.resize(
            tuple(x // 2 for x in pil_image.size), resample=Image.Resampling.BOX
        )
    scale = image_size / min(*pil_image.size)
    pil_image = pil_image.resize(
        tuple(round(x * scale) for x in pil_image.size), resample=Image.Resampling.BICUBIC
    )
    arr = np.array(pil_image)
    crop_y = (arr.shape[0] - image_size) // 2
    crop_x = (arr.shape[1] - image_size) // 2
    return arr[crop_y : crop_y + image_size, crop_x : crop_x + image_size]


@pytest.mark.parametrize(
    "size", [(500, 375), (333, 1000), (64, 64), (63, 200), (65, 64), (20, 31), (128, 129), (1, 90)]
)
def test_adm_crop_is_guided_diffusions(size):
    image = photo(*size)
    found = views.render(image, views.PLAIN, 64, "adm")
    np.testing.assert_array_equal(found, center_crop_arr(image, 64))


def test_adm_crop_reads_a_jpeg_in_full(tmp_path):
    photo(700, 500).save(tmp_path / "x.jpg", quality=90)
    with Image.open(tmp_path / "x.jpg") as image:
        expected = center_crop_arr(image.convert("RGB"), 64)
    np.testing.assert_array_equal(images.read(tmp_path / "x.jpg", 64, 3, "adm"), expected)
    plain = images.read(tmp_path / "x.jpg", 64, 3)
    assert (plain != expected).any()


def test_adm_crop_of_a_long_strip_leaves_out_what_is_cut_off(monkeypatch):
    image = photo(3, 3000)
    expected = views.adm(image, 64)
    monkeypatch.setattr(views, "MAX_RESIZED", 1)
    found = np.asarray(views.adm(image, 64)).astype(int)
    assert np.abs(found - np.asarray(expected)).max() <= 2  # the same weights, rounded elsewhere


def test_crop_of_a_share_lies_where_it_is_told():
    image = photo(120, 100)
    whole = np.asarray(image)
    for place, rows, columns in (
        ((0.0, 0.0), slice(0, 50), slice(0, 50)),
        ((1.0, 1.0), slice(50, 100), slice(70, 120)),
        ((0.5, 0.0), slice(0, 50), slice(35, 85)),
    ):
        found = views.render(image, views.View(kept=0.5, place=place), 50, "center")
        np.testing.assert_array_equal(found, whole[rows, columns])
        flipped = views.View(is_flipped=True, kept=0.5, place=place)
        np.testing.assert_array_equal(views.render(image, flipped, 50, "adm"), found[:, ::-1])


def test_drawn_views_follow_their_law():
    on = views.Augmentation(flip=True, random_crop=(0.6, 0.9))
    rng = np.random.default_rng(0)
    drawn = [on.draw(rng) for _ in range(4000)]
    # Standard errors: of a share of 4,000 below 0.008, of a uniform's mean below 0.005.
    assert np.mean([view.is_flipped for view in drawn]) == pytest.approx(0.5, abs=0.04)
    kept = np.array([view.kept for view in drawn])
    assert 0.6 <= kept.min() < 0.605
    assert 0.895 < kept.max() <= 0.9
    assert kept.mean() == pytest.approx(0.75, abs=0.01)
    np.testing.assert_allclose(np.mean([view.place for view in drawn], axis=0), 0.5, atol=0.025)
    no_flip = views.Augmentation(random_crop=(0.6, 0.9))
    assert no_flip.draw(np.random.default_rng(3))[1:] == on.draw(np.random.default_rng(3))[1:]
    assert not views.Augmentation().is_on
    assert views.Augmentation().draw(np.random.default_rng(0)) == views.PLAIN


def test_cached_views_begin_with_the_plain_one_and_are_the_records_own():
    four = views.fixed(1, True, (0.8, 1.0), 17)
    assert four[0] == views.PLAIN
    assert [view.is_flipped for view in four] == [False, True, False, True]
    assert four[2]._replace(is_flipped=True) == four[3]
    assert views.fixed(2, False, (0.8, 1.0), 17)[1] == four[2]  # more crops change none
    assert views.fixed(1, False, (0.8, 1.0), 18)[1] != four[2]
    assert views.fixed(0, False, (), 5) == [views.PLAIN]


@pytest.mark.parametrize("shares", [(0.5,), (0.9, 0.8), (0.0, 1.0), (0.5, 1.5)])
def test_impossible_shares_and_unknown_crops_are_refused(shares):
    with pytest.raises(errors.UserError, match="data.random_crop is .* e.g. 0.8,1.0"):
        views.Augmentation(random_crop=shares)
    with pytest.raises(errors.UserError, match="data.crop is 'centre'; did you mean 'center'"):
        views.check_crop("centre")
