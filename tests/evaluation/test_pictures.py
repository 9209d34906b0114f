"""The right image stands in the right row and column of each picture."""

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import grid, pictures


@pytest.fixture
def shown(monkeypatch):
    """What a picture passes on to the grid."""
    calls = []
    original = grid.image_grid

    def spy(images, columns, **text):
        calls.append((images, columns, text))
        return original(images, columns, **text)

    monkeypatch.setattr(grid, "image_grid", spy)
    return calls


def flat_images(values):
    """An 8 x 8 image of one grey for each value."""
    values = np.asarray(values, np.uint8)
    return np.broadcast_to(values[..., None, None, None], (*values.shape, 8, 8, 1)).copy()


def greys(call):
    images, columns, _ = call
    return images[:, 0, 0, 0].reshape(-1, columns).tolist()


def test_originals_stand_above_their_reconstructions(shown):
    by_depth = flat_images([[11, 12, 13], [21, 22, 23]])
    pictures.reconstructions(flat_images([1, 2, 3]), by_depth, [15.25, 20.0])
    assert greys(shown[0]) == [[1, 2, 3], [11, 12, 13], [21, 22, 23]]
    names = shown[0][2]["row_names"]
    assert names == ["original", "depth 1\nPSNR 15.2 dB", "depth 2\nPSNR 20.0 dB"]


def test_of_many_depths_the_first_and_last_are_shown(shown):
    by_depth = flat_images(np.arange(32)[:, None])
    pictures.reconstructions(flat_images([200]), by_depth, np.arange(32.0))
    rows = greys(shown[0])
    assert len(rows) == 1 + pictures.MAX_DEPTHS
    assert rows[1] == [0]
    assert rows[-1] == [31]
    assert shown[0][2]["row_names"][-1] == "depth 32\nPSNR 31.0 dB"


def test_each_class_has_its_row_and_short_rows_are_filled_with_paper(shown):
    labels = np.array([2, 0, 2, 0, 2, 2], np.int32)
    pictures.samples(flat_images([1, 2, 3, 4, 5, 6]), labels, ["a", "b", "c"], per_class=3)
    assert greys(shown[0]) == [[2, 4, 255], [1, 3, 5]]
    assert shown[0][2]["row_names"] == ["a", "c"]


def test_of_many_classes_twenty_are_shown_and_it_says_so(shown):
    labels = np.arange(100, dtype=np.int32)
    pictures.samples(flat_images(labels), labels, [f"class {name}" for name in labels])
    assert len(greys(shown[0])) == 20
    assert "20 of 100 classes" in shown[0][2]["subtitle"]
    assert shown[0][2]["row_names"][0] == "class 0"
    assert shown[0][2]["row_names"][-1] == "class 99"


def test_unmasking_reads_from_left_to_right(shown):
    by_step = flat_images([[1, 4], [2, 5], [3, 6]])
    pictures.unmasking(by_step, [0.004, 0.5, 1.0], ["x", "y"])
    assert greys(shown[0]) == [[1, 2, 3], [4, 5, 6]]
    assert shown[0][2]["column_names"] == ["step 1\n0.4 %", "step 2\n50 %", "step 3\n100 %"]
    assert shown[0][2]["row_names"] == ["x", "y"]


def test_of_many_steps_the_last_is_shown(shown):
    pictures.unmasking(flat_images(np.arange(64)[:, None]), np.linspace(0, 1, 64))
    assert len(greys(shown[0])[0]) == pictures.MAX_STEPS
    assert greys(shown[0])[0][-1] == 63
    assert shown[0][2]["column_names"][-1] == "step 64\n100 %"


def test_counts_that_do_not_match_are_refused():
    with pytest.raises(errors.UserError, match="1 PSNR values for 2 depths"):
        pictures.reconstructions(flat_images([1]), flat_images([[1], [2]]), [3.0])
    with pytest.raises(errors.UserError, match="1 shares of revealed codes for 2 steps"):
        pictures.unmasking(flat_images([[1], [2]]), [1.0])


def test_real_images_lie_as_samples_do(shown):
    images, labels = flat_images([1, 2, 3]), np.array([1, 0, 1], np.int32)
    pictures.real(images, labels, ["cat", "dog"], per_class=2)
    assert greys(shown[0]) == [[2, 255], [1, 3]]
    assert shown[0][2]["row_names"] == ["cat", "dog"]
    assert shown[0][2]["title"] == "Real images"


def test_each_sample_stands_before_its_nearest_images(shown):
    pictures.nearest(flat_images([1, 2]), flat_images([[11, 12], [21, 22]]), ["cat", "dog"])
    assert greys(shown[0]) == [[1, 11, 12], [2, 21, 22]]
    assert shown[0][2]["column_names"] == ["sample", "nearest", "2"]
