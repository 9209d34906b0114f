"""Encoded images: every kind of file gives the folder's elements, to threads and copies alike."""

import concurrent.futures
import pickle

import image_files
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.data import images, records, sources

KINDS = list(image_files.WRITERS)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return image_files.make_folder(tmp_path_factory.mktemp("records") / "folder")


@pytest.fixture(scope="module")
def places(folder):
    split = image_files.encoded(folder)
    return {kind: write(folder.parent / kind, split) for kind, write in image_files.WRITERS.items()}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_file_gives_the_folders_elements(kind, folder, places):
    expected = sources.open_images(image_files.spec(path=str(folder)))
    found = sources.open_images(image_files.spec(path=places[kind], source=kind))
    names = ("0", "1", "2") if kind == "tar" else image_files.CLASSES
    assert found.class_names == names
    for part in ("train", "held_out"):
        pixels, labels = image_files.pixels_and_labels(getattr(found, part))
        wanted, wanted_labels = image_files.pixels_and_labels(getattr(expected, part))
        np.testing.assert_array_equal(pixels, wanted)
        assert labels == wanted_labels


@pytest.mark.parametrize("kind", ["folder", *KINDS])
def test_threads_and_pickled_copies_read_the_same(kind, folder, places):
    place = str(folder) if kind == "folder" else places[kind]
    source = sources.open_images(image_files.spec(path=place, source=kind)).train
    wanted = image_files.pixels_and_labels(source)[0]
    order = np.random.default_rng(0).integers(0, len(source), 150).tolist()
    for one in (source, pickle.loads(pickle.dumps(source))):
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            found = list(pool.map(lambda index, one=one: one[index]["images"], order))
        np.testing.assert_array_equal(np.stack(found), wanted[order])
        assert one.fingerprint() == source.fingerprint()


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_split_one_record_of_ten_is_held_out(kind, folder, places):
    suffix = {"array_record": ".array_record"}.get(kind, f".{kind}")
    place = f"{places[kind]}/train-*{suffix}"
    found = sources.open_images(image_files.spec(path=place, source=kind))
    whole = sources.open_images(
        image_files.spec(path=place, held_out_path=place, source=kind)
    ).train
    assert (len(found.train), len(found.held_out)) == (14, 1)
    np.testing.assert_array_equal(found.held_out[0]["images"], whole[7]["images"])
    np.testing.assert_array_equal(found.train[7]["images"], whole[8]["images"])
    assert found.train.fingerprint() != found.held_out.fingerprint()
    assert found.train.fingerprint() != whole.fingerprint()


def test_records_whose_classes_come_in_turn_hold_out_all_classes():
    class InTurn(list):
        def fingerprint(self):
            return "in turn"

    some = InTurn(records.EncodedImage(b"", number % 10, "") for number in range(500))
    train, held_out = records.hold_out(some, "somewhere")
    labels = [held_out[index].label for index in range(len(held_out))]
    assert (len(train), len(held_out)) == (450, 50)
    assert np.bincount(labels, minlength=10).min() >= 4


def test_a_few_records_hold_out_one_and_one_is_too_few():
    class Few(list):
        def fingerprint(self):
            return "few"

    some = Few(records.EncodedImage(b"", label, "") for label in range(3))
    train, held_out = records.hold_out(some, "somewhere")
    assert ([train[0], train[1]], held_out[0]) == (some[::2], some[1])
    with pytest.raises(errors.UserError, match="somewhere holds 1 images, too few"):
        records.hold_out(Few(some[:1]), "somewhere")


def test_crop_and_views_reach_the_pixels_and_the_fingerprint(folder):
    plain, adm = (
        sources.open_images(image_files.spec(path=str(folder), crop=crop)).train
        for crop in ("center", "adm")
    )
    assert plain.fingerprint() != adm.fingerprint()
    seen, label = plain.views(3, [images.views.PLAIN, images.views.View(is_flipped=True)])
    np.testing.assert_array_equal(seen[0], seen[1][:, ::-1])
    assert label == plain[3]["labels"]


def test_bad_bytes_are_named_with_their_place(folder, tmp_path):
    split = image_files.encoded(folder)

    class Cut:
        def __len__(self):
            return len(split.train)

        def __getitem__(self, index):
            image = split.train[index]
            return image._replace(encoded=image.encoded[:40]) if index == 7 else image

        def fingerprint(self):
            return "cut"

    expected = {
        "array_record": r"train-00001-of-00003.array_record record 2 .*002.png",
        "tar": r"train-001.tar:./train/000007",
        "parquet": r"train-00001-of-00002.parquet row group 0 row 0",
    }
    for kind, write in image_files.WRITERS.items():
        place = write(tmp_path / kind, split._replace(train=Cut()))
        source = sources.open_images(image_files.spec(path=place, source=kind)).train
        with pytest.raises(images.UnreadableImage, match=expected[kind]):
            source[7]
        source[6]
