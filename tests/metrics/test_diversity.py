"""The within-class variance ratio by hand and its invariances."""

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.metrics import diversity


@pytest.fixture
def data():
    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(4), 25)
    return random.normal(size=(100, 6)) + 10 * labels[:, None], labels


def test_the_ratio_of_a_set_with_itself_is_one_and_scales_with_the_square(data):
    features, labels = data
    assert diversity.within_class_variance_ratio(*data, *data) == pytest.approx(1)
    means = np.stack([features[labels == label].mean(axis=0) for label in range(4)])[labels]
    shrunk = means + 0.5 * (features - means)
    ratio = diversity.within_class_variance_ratio(shrunk, labels, features, labels)
    assert ratio == pytest.approx(0.25)


def test_only_the_spread_within_classes_counts(data):
    features, labels = data
    moved = features + 1000.0 * labels[:, None]
    ratio = diversity.within_class_variance_ratio(moved, labels, features, labels)
    assert ratio == pytest.approx(1)


def test_classes_weigh_alike_whatever_their_size():
    features_a, labels_a = np.array([[0.0], [2], [0], [4]]), np.array([0, 0, 1, 1])
    features_b = np.array([[0.0], [2], [0], [2], [0], [2], [9], [9]])
    labels_b = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    # a: variances 2 and 8; b, on the classes of a: 4/3 and 2
    ratio = diversity.within_class_variance_ratio(features_a, labels_a, features_b, labels_b)
    assert ratio == pytest.approx(10 / (4 / 3 + 2))


def test_mistakes_are_named(data):
    features, labels = data
    with pytest.raises(errors.UserError, match="class 7 has 1 row"):
        diversity.within_class_variance(features[:3], np.array([1, 1, 7]))
    with pytest.raises(errors.UserError, match=r"classes \[3\]"):
        diversity.within_class_variance_ratio(features, labels, features[:75], labels[:75])
    with pytest.raises(errors.UserError, match="do not vary"):
        diversity.within_class_variance_ratio(features, labels, 0 * features, labels)
