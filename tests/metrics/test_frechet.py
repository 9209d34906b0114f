"""The Frechet distance against closed forms and SciPy, and streamed moments against NumPy."""

import numpy as np
import pytest
import scipy.linalg

from resgen_jax.core import errors
from resgen_jax.metrics import frechet


@pytest.fixture
def random():
    return np.random.default_rng(0)


def gaussian(random, num_features, rank=None):
    root = random.normal(size=(num_features, num_features if rank is None else rank))
    return random.normal(size=num_features), root @ root.T


def test_distance_to_itself_is_zero_also_when_singular(random):
    for rank in (None, 3, 1, 0):
        mean, cov = gaussian(random, 16, rank)
        assert frechet.frechet_distance(mean, cov, mean, cov) == pytest.approx(0, abs=1e-9)


def test_one_dimension_is_the_closed_form():
    # (m1 - m2)^2 + (s1 - s2)^2
    distance = frechet.frechet_distance(
        np.array([1.0]), np.array([[4.0]]), np.array([3.0]), np.array([[25.0]])
    )
    assert distance == pytest.approx(4 + 9)


def test_commuting_covariances_are_the_closed_form(random):
    mean_a, mean_b = random.normal(size=(2, 6))
    spread_a, spread_b = random.uniform(0, 3, (2, 6))
    spread_a[0] = spread_b[1] = 0
    turn, _ = np.linalg.qr(random.normal(size=(6, 6)))
    distance = frechet.frechet_distance(
        mean_a, turn @ np.diag(spread_a**2) @ turn.T, mean_b, turn @ np.diag(spread_b**2) @ turn.T
    )
    expected = np.sum((mean_a - mean_b) ** 2) + np.sum((spread_a - spread_b) ** 2)
    assert distance == pytest.approx(expected, rel=1e-9)


def test_general_covariances_equal_the_root_of_the_product(random):
    mean_a, cov_a = gaussian(random, 8)
    mean_b, cov_b = gaussian(random, 8)
    root = scipy.linalg.sqrtm(cov_a @ cov_b).real
    expected = np.sum((mean_a - mean_b) ** 2) + np.trace(cov_a + cov_b - 2 * root)
    distance = frechet.frechet_distance(mean_a, cov_a, mean_b, cov_b)
    assert distance == pytest.approx(expected, rel=1e-8)
    assert distance == pytest.approx(frechet.frechet_distance(mean_b, cov_b, mean_a, cov_a))


def test_disjoint_singular_covariances_only_add_up():
    cov_a, cov_b = np.diag([4.0, 0, 0]), np.diag([0, 9.0, 0])
    distance = frechet.frechet_distance(np.zeros(3), cov_a, np.zeros(3), cov_b)
    assert distance == pytest.approx(13)


def test_streamed_moments_equal_numpy_in_any_split_and_order(random):
    features = (random.normal(size=(101, 5)) * [1, 2, 3, 4, 5] + 1e4).astype(np.float32)
    moments = frechet.start(5)
    for part in (features[:1], features[1:40], features[40:40], features[40:]):
        moments = frechet.accumulate(moments, part)
    exact = features.astype(np.float64)
    assert moments.num_rows == 101
    np.testing.assert_allclose(moments.mean, exact.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(frechet.covariance(moments), np.cov(exact.T), rtol=1e-9, atol=1e-9)

    shards = [frechet.accumulate(frechet.start(5), features[i::3]) for i in range(3)]
    merged = frechet.merge(shards[2], frechet.merge(shards[0], shards[1]))
    np.testing.assert_allclose(merged.mean, moments.mean, rtol=1e-12)
    np.testing.assert_allclose(merged.scatter, moments.scatter, rtol=1e-8, atol=1e-8)
    assert frechet.distance(merged, moments) == pytest.approx(0, abs=1e-8)


def test_shifted_features_are_their_shift_apart(random):
    features = random.normal(size=(50, 4))
    one = frechet.accumulate(frechet.start(4), features)
    other = frechet.accumulate(frechet.start(4), features + np.array([3.0, 0, 4.0, 0]))
    assert frechet.distance(one, other) == pytest.approx(25)


def adm(mean_a, cov_a, mean_b, cov_b):
    """The ADM evaluator's arithmetic, its fallback for singular products included."""
    root = scipy.linalg.sqrtm(cov_a @ cov_b)
    if not np.isfinite(root).all():
        offset = np.eye(len(cov_a)) * 1e-6
        root = scipy.linalg.sqrtm((cov_a + offset) @ (cov_b + offset))
    assert np.allclose(np.diagonal(root.imag), 0, atol=1e-3)
    apart = np.sum((mean_a - mean_b) ** 2)
    return apart + np.trace(cov_a) + np.trace(cov_b) - 2 * np.trace(root.real)


def test_features_of_a_network_equal_adm_to_a_millionth(random):
    turn = random.normal(size=(48, 48))
    sets = [random.gamma(1.0, size=(400, 48)) @ turn, random.gamma(1.3, size=(350, 48)) @ turn]
    moments = [frechet.accumulate(frechet.start(48), rows.astype(np.float32)) for rows in sets]
    numbers = [(rows.mean(axis=0), np.cov(rows, rowvar=False)) for rows in sets]
    expected = adm(*numbers[0], *numbers[1])
    assert frechet.distance(*moments) == pytest.approx(expected, rel=1e-6)
    assert frechet.distance(moments[0], moments[0]) < 1e-3


def test_singular_covariances_equal_adm_with_full_ones_mixed_in(random):
    few = random.normal(size=(12, 20))  # fewer rows than features
    many = random.normal(size=(90, 20)) + 0.5
    one, other = (frechet.accumulate(frechet.start(20), rows) for rows in (few, many))
    expected = adm(few.mean(axis=0), np.cov(few.T), many.mean(axis=0), np.cov(many.T))
    # scipy's root of a singular product is itself only good to the root of the rounding.
    assert frechet.distance(one, other) == pytest.approx(expected, rel=1e-5)
    assert frechet.distance(one, one) < 1e-6


def test_too_few_rows_are_told_and_enough_are_not():
    assert "20 images are too few for a covariance of 20 features" in frechet.shortage(20, 20)
    assert frechet.shortage(21, 20) is None


def test_mistakes_are_named():
    one = frechet.accumulate(frechet.start(3), np.zeros((1, 3)))
    with pytest.raises(errors.UserError, match="1 row of features"):
        frechet.covariance(one)
    with pytest.raises(errors.UserError, match=r"\(2, 4\); expected rows of 3"):
        frechet.accumulate(one, np.zeros((2, 4)))
    with pytest.raises(errors.UserError, match="NaN"):
        frechet.frechet_distance(np.zeros(1), np.eye(1), np.array([np.nan]), np.eye(1))
