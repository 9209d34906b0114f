"""Figures of samples: what a set is worth against itself, shuffled, collapsed or real."""

import numpy as np
import pytest

from resgen_jax.evaluation import images


@pytest.fixture
def measure(trained, digits):
    pixels, labels = digits
    train = images.Labelled(pixels[:1400], labels[:1400])
    held_out = images.Labelled(pixels[1400:], labels[1400:])

    def measured(samples):
        return images.judge_samples(
            trained[0], train=train, held_out=held_out, reconstructions=train, samples=samples
        )

    return measured, train


def test_the_real_images_as_samples_are_perfect(measure):
    measured, train = measure
    found = measured(train)
    assert found["frechet_distance"] == pytest.approx(0, abs=1e-4)
    assert found["within_class_variance_ratio"] == pytest.approx(1, abs=1e-6)
    assert found["frechet_distance_reconstructions"] == found["frechet_distance"]
    assert found["class_agreement"] == found["class_agreement_reconstructions"] > 0.9
    assert 0 < found["frechet_distance_floor"] < 3
    assert found["num_samples"] == 1400


def test_shuffled_labels_agree_by_chance_and_keep_the_distance(measure):
    measured, train = measure
    shuffled = np.random.default_rng(0).permutation(train.labels)
    found = measured(images.Labelled(train.images, shuffled))
    assert found["class_agreement"] == pytest.approx(0.1, abs=0.04)
    assert found["frechet_distance"] == pytest.approx(0, abs=1e-4)
    assert found["within_class_variance_ratio"] > 1.5  # each class now holds all of them


def test_one_image_a_class_agrees_and_shows_as_no_variance(measure, trained):
    measured, train = measure
    is_right = trained[0].predict(train.images) == train.labels
    chosen = [np.flatnonzero(is_right & (train.labels == name))[0] for name in range(10)]
    repeated = np.repeat(chosen, 20)
    found = measured(images.Labelled(train.images[repeated], train.labels[repeated]))
    assert found["class_agreement"] == 1
    assert found["within_class_variance_ratio"] == pytest.approx(0, abs=1e-6)
    assert found["frechet_distance"] > found["frechet_distance_floor"]


def test_noise_is_far_from_digits(measure):
    measured, train = measure
    noise = np.random.default_rng(0).integers(0, 256, (200, 8, 8, 1), np.uint8)
    found = measured(images.Labelled(noise, train.labels[:200]))
    assert found["frechet_distance"] > 5 * found["frechet_distance_floor"]


def test_too_few_images_give_none_and_not_an_error(measure):
    measured, train = measure
    found = measured(images.Labelled(train.images[:1], train.labels[:1]))
    assert found["frechet_distance"] is None
    assert found["within_class_variance_ratio"] is None
    assert found["class_agreement"] in (0.0, 1.0)


def test_variance_ratio_counts_only_classes_with_two_images():
    generator = np.random.default_rng(0)
    real, labels = generator.normal(size=(60, 4)), np.repeat([0, 1, 2], 20)
    halved = np.concatenate([real[:40] * 0.5, np.full((1, 4), 1e6)])
    ratio = images.variance_ratio(halved, np.append(labels[:40], 2), real, labels)
    assert ratio == pytest.approx(0.25, rel=1e-9)
