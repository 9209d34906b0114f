"""Real digits and a judge of them, trained once for all tests of this folder."""

import jax
import numpy as np
import pytest
from sklearn import datasets

from resgen_jax.evaluation import classifier, judge


@pytest.fixture(scope="session")
def digits():
    """Images and labels of 1,797 handwritten digits."""
    loaded = datasets.load_digits()
    images = np.round(loaded.images * (255 / 16)).astype(np.uint8)[..., None]
    return images, loaded.target.astype(np.int32)


@pytest.fixture(scope="session")
def train_judge(digits):
    """Trains a small judge on the first 1,400 digits."""
    images, labels = digits
    spec = classifier.Spec(width=12, num_steps=120, batch_size=64, learning_rate=5e-3)

    def train(progress):
        return judge.train(
            jax.random.key(0), images[:1400], labels[:1400], 10, spec, progress=progress
        )

    return train


@pytest.fixture(scope="session")
def trained(train_judge):
    """The judge, and what its training told of its progress."""
    told = []
    return train_judge(lambda *report: told.append(report)), told
