"""Spread: some of many records, even over the classes in whatever order they lie."""

import itertools

import image_files
import numpy as np
import pytest

from resgen_jax.data import images, sources, spread


class Labelled:
    """Records that are their labels."""

    def __init__(self, labels):
        self.labels = labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"labels": self.labels[index], "index": index}

    def label(self, index):
        if self.labels[index] < 0:
            raise images.UnreadableImage("bad")
        return int(self.labels[index])


ORDERS = {
    "class by class": lambda number, total, classes: number * classes // total,
    "in turn": lambda number, total, classes: number % classes,
}


def test_places_are_in_order_and_distinct_and_all_where_all_are_asked_for():
    for total, count in itertools.product((1, 2, 7, 10, 99, 100), (1, 2, 3, 9, 10, 98, 200)):
        found = spread.places(total, count)
        assert len(found) == min(total, count)
        assert (np.diff(found) > 0).all()
        assert 0 <= found[0] <= found[-1] < total
        if count >= total:
            np.testing.assert_array_equal(found, np.arange(total))
    assert not len(spread.places(0, 5))


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("count", [20, 100, 128, 256, 512, 1000, 4096])
def test_every_class_has_its_share(order, count):
    """Of 10,000 records in 10 classes: within 2 where classes lie together, else as if drawn."""
    labels = np.array([ORDERS[order](number, 10_000, 10) for number in range(10_000)])
    chosen = spread.Spread(Labelled(labels), count)
    found = np.bincount([chosen[index]["labels"] for index in range(len(chosen))], minlength=10)
    allowed = 2 if order == "class by class" else 3 * (count / 10) ** 0.5
    assert found.sum() == count
    assert np.abs(found - count / 10).max() <= allowed, found


def test_what_is_chosen_is_told_with_its_classes():
    labels = np.repeat(np.arange(5), 20)
    assert spread.Spread(Labelled(labels), 30).describe(5) == "30 of 100, all 5 classes"
    assert spread.Spread(Labelled(labels), 3).describe(5) == "3 of 100, 3 of 5 classes"
    labels[labels == 2] = -1
    assert spread.Spread(Labelled(labels), 50).num_classes() == 4


@pytest.mark.parametrize("kind", ["folder", *image_files.WRITERS])
def test_labels_of_every_kind_of_file_are_those_of_its_elements(kind, tmp_path):
    folder = image_files.make_folder(tmp_path / "folder")
    place = str(folder)
    if kind != "folder":
        place = image_files.WRITERS[kind](tmp_path / kind, image_files.encoded(folder))
    source = sources.open_images(image_files.spec(path=place, source=kind)).train
    labels = [int(source[index]["labels"]) for index in range(len(source))]
    assert [source.label(index) for index in range(len(source))] == labels
