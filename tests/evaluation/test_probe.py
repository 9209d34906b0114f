"""Laws of the linear judge: what a guesser, a constant and a perfect set score."""

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.evaluation import probe

CENTRES = np.random.default_rng(0).normal(size=(4, 6)) * 3


def draw(labels, seed):
    noise = np.random.default_rng(seed).normal(size=(len(labels), 6))
    return (CENTRES[labels] + noise).astype(np.float32)


@pytest.fixture(scope="module")
def judge():
    labels = np.arange(400) % 4
    return probe.fit(draw(labels, 1), labels)


def test_real_images_agree_and_a_guesser_agrees_by_chance(judge):
    labels = np.arange(400) % 4
    assert probe.agreement(judge, draw(labels, 2), labels) > 0.97
    guessed = draw(np.random.default_rng(3).integers(0, 4, 400), 4)
    assert abs(probe.agreement(judge, guessed, labels) - 0.25) < 0.08
    constant = np.repeat(draw(np.array([2]), 5), 400, axis=0)
    assert probe.agreement(judge, constant, labels) == 0.25
    assert probe.agreement(judge, draw((labels + 1) % 4, 6), labels) < 0.03


@pytest.mark.parametrize("classes", [(1, 3), (0, 2, 3)])
def test_a_class_without_images_is_never_named(classes):
    labels = np.resize(np.array(classes), 300)
    judge = probe.fit(draw(labels, 1), labels)
    assert probe.agreement(judge, draw(labels, 2), labels) > 0.97
    assert set(judge.predict(draw(np.arange(400) % 4, 3))) <= set(classes)


def test_scale_and_offset_of_the_features_do_not_matter(judge):
    labels = np.arange(400) % 4
    features, stretch = draw(labels, 1), np.array([1, 1e3, 1e-2, 1, 5, 1], np.float32)
    other = probe.fit(features * stretch + 7, labels)
    seen = draw(labels, 2)
    assert np.mean(judge.predict(seen) == other.predict(seen * stretch + 7)) > 0.99


def test_one_class_is_refused():
    with pytest.raises(errors.UserError, match="1 class: a judge of classes needs"):
        probe.fit(np.zeros((5, 3), np.float32), np.zeros(5, np.int32))
