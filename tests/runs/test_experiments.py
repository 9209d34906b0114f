"""Experiments: what the loop is given to measure on is of all classes, and is said."""

import numpy as np
from PIL import Image

from resgen_jax.runs import experiments
from resgen_jax.runs.configs import configuration

NUM_CLASSES = 6


def make_images(root):
    """DIR/train and DIR/val of colour images, classes in folders: 4 to train on, 40 held out."""
    for part, count in (("train", 4), ("val", 40)):
        for label in range(NUM_CLASSES):
            (root / part / f"class{label}").mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (8, 8), (40 * label, number, 0))
                image.save(root / part / f"class{label}" / f"{number:03d}.png")
    return root


def open_experiment(place, num_batches, notes):
    folder = make_images(place.folder / "photos")
    fields = {
        "data.source": "folder",
        "data.path": str(folder),
        "data.channels": "3",
        "train.num_held_out_batches": str(num_batches),
    }
    config = configuration.load(str(place.tokenizer_config), list(fields.items()))
    return experiments.open_experiment(config, place.folder / "run", notes.append)


def test_held_out_batches_are_spread_over_all_classes_and_that_is_said(place):
    """Two batches of 16 would otherwise all be of the first class."""
    notes = []
    experiment = open_experiment(place, 2, notes)
    batches = list(experiment.held_out(2))
    assert [len(batch["labels"]) for batch in batches] == [16, 16]
    counts = np.bincount(
        np.concatenate([batch["labels"] for batch in batches]), minlength=NUM_CLASSES
    )
    assert counts.min() >= 4
    assert counts.max() <= 7
    assert notes == ["held-out figures while training: 32 of 240, all 6 classes"]


def test_all_held_out_records_are_measured_unless_a_number_is_given(place):
    notes = []
    batches = list(open_experiment(place, 0, notes).held_out(0))
    assert sum(int(batch["is_valid"].sum()) for batch in batches) == 240
    assert not notes
