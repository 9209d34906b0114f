"""Collected features equal NumPy's, for any batch size and any number of devices."""

import jax
import numpy as np
import pytest
import tiny_features

from resgen_jax.core import errors
from resgen_jax.evaluation import features, samples
from resgen_jax.metrics import frechet
from resgen_jax.runtime import mesh as meshes

NUM_IMAGES = 67


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (NUM_IMAGES, 8, 8, 3), dtype=np.uint8)


def collect(pixels, num_devices, batch_size, **settings):
    mesh = meshes.make(meshes.Spec(), jax.devices()[:num_devices])
    extractor = tiny_features.extractor(mesh)
    source = samples.of_array(pixels, "pixels")
    return features.collect(extractor, source, batch_size=batch_size, **settings)


@pytest.fixture(scope="module")
def expected(pixels):
    network = tiny_features.network()
    return network.apply(network.init(jax.random.key(0)), pixels.astype(np.float32))


@pytest.mark.parametrize(
    ("num_devices", "batch_size"), [(1, 7), (1, 256), (2, 64), (8, 8), (8, 64)]
)
def test_moments_do_not_depend_on_batches_and_devices(pixels, expected, num_devices, batch_size):
    told = []
    found = collect(pixels, num_devices, batch_size, report=told.append)
    exact = np.asarray(expected.features, np.float64)
    assert found.moments.num_rows == NUM_IMAGES
    np.testing.assert_allclose(found.moments.mean, exact.mean(axis=0), rtol=1e-5, atol=1e-7)
    np.testing.assert_allclose(
        frechet.covariance(found.moments), np.cov(exact.T), rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(found.features, expected.features, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.logits, expected.logits, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(found.spatial.mean, np.mean(expected.spatial, axis=0), rtol=1e-5)
    assert told[-1] == -(-NUM_IMAGES // batch_size)


def test_distance_is_the_same_to_a_millionth(pixels):
    distances = []
    for num_devices, batch_size in (
        *((1, 7), (1, 64), (1, 256), (2, 64)),
        *((2, 256), (8, 64), (8, 256)),
    ):
        # Each time in another order too.
        order = np.random.default_rng(len(distances)).permutation(30)
        one, other = (
            collect(part, num_devices, batch_size)
            for part in (pixels[:30][order], pixels[30:] // 2)
        )
        distances.append(frechet.distance(one.moments, other.moments))
    np.testing.assert_allclose(distances, distances[0], rtol=1e-6)


def test_only_the_features_asked_for_are_kept(pixels, expected):
    found = collect(pixels, 1, 7, kept=(0, 20, 66))
    np.testing.assert_allclose(found.features, expected.features[np.array([0, 20, 66])], rtol=1e-5)
    assert collect(pixels, 1, 7, kept=()).features.shape == (0, 6)


def test_features_that_are_not_finite_are_refused(pixels, single):
    network = tiny_features.network()
    params = {"kernel": np.full((12, 6), np.nan, np.float32)}
    extractor = features.Extractor(network, params, single)
    source = samples.of_array(pixels[:5], "pixels")
    with pytest.raises(errors.UserError, match="features of 5 images hold NaN"):
        features.collect(extractor, source, batch_size=7)


def test_fingerprint_tells_weights_apart():
    one = {"a": np.zeros(3, np.float32), "b": np.ones(2, np.float32)}
    assert features.fingerprint(one) == features.fingerprint(dict(reversed(one.items())))
    others = [
        {"a": one["a"], "c": one["b"]},
        {"a": one["a"], "b": np.nextafter(one["b"], np.float32(2))},
        {"a": one["a"].reshape(3, 1), "b": one["b"]},
    ]
    assert features.fingerprint(one) not in map(features.fingerprint, others)
