"""MIND against what is known of lines, shifts and Gaussians, and against a reference by hand."""

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.metrics import frechet, mind


@pytest.fixture
def random():
    return np.random.default_rng(0)


def by_repetition(a, b):
    """Each set repeated to the same number of rows, sorted along each line, subtracted."""
    count = np.lcm(len(a), len(b))
    total = 0.0
    for line in mind.directions(a.shape[1]):
        along = [np.sort(np.repeat(rows @ line, count // len(rows))) for rows in (a, b)]
        total += np.mean((along[0] - along[1]) ** 2)
    return a.shape[1] * total / mind.NUM_DIRECTIONS


@pytest.mark.parametrize("counts", [(5, 5), (4, 6), (3, 7), (1, 4)])
def test_sets_of_any_sizes_are_compared_by_their_quantiles(random, counts):
    a, b = (random.normal(size=(count, 3)) for count in counts)
    assert mind.mind(a, b) == pytest.approx(by_repetition(a, b), rel=1e-12)
    assert mind.mind(a, b) == pytest.approx(mind.mind(b, a), rel=1e-12)


def test_a_set_with_itself_is_0_in_any_order_and_repeated(random):
    rows = random.normal(size=(20, 4))
    assert mind.mind(rows, rows) == 0
    # A product of matrices may round a row otherwise where it stands elsewhere.
    assert mind.mind(rows, rows[::-1]) == pytest.approx(0, abs=1e-20)
    assert mind.mind(rows, np.repeat(rows, 3, axis=0)) == pytest.approx(0, abs=1e-20)


def test_a_shift_gives_its_square_along_each_line(random):
    rows, shift = random.normal(size=(30, 8)), random.normal(size=8)
    along = mind.directions(8) @ shift
    expected = 8 * np.mean(along**2)
    assert mind.mind(rows, rows + shift) == pytest.approx(expected, rel=1e-9)
    # In the mean over all directions that is the square of its length, as in a Frechet distance.
    assert expected == pytest.approx(shift @ shift, rel=0.1)


def test_gaussians_give_the_closed_form(random):
    """Along a unit vector v: (v . shift)^2 + (deviation of a along v - deviation of b)^2."""
    scale_a, scale_b, shift = np.array([1.0, 0.5]), np.array([2.0, 0.5]), np.array([0.3, 0.0])
    a, b = (random.normal(size=(20_000, 2)) for _ in range(2))
    found = mind.mind(a * scale_a, b * scale_b + shift)
    lines = mind.directions(2)
    widths = [np.sqrt(((lines * scale) ** 2).sum(axis=1)) for scale in (scale_a, scale_b)]
    expected = 2 * np.mean((lines @ shift) ** 2 + (widths[0] - widths[1]) ** 2)
    assert found == pytest.approx(expected, rel=0.05)


def test_it_sees_what_a_frechet_distance_cannot(random):
    """Two points and a Gaussian with the mean and variance of both."""
    points = np.repeat([[-1.0], [1.0]], 50, axis=0)
    normal = random.normal(size=(100, 1))
    normal = (normal - normal.mean()) / normal.std(ddof=1) * points.std(ddof=1)
    moments = [frechet.accumulate(frechet.start(1), rows) for rows in (points, normal)]
    assert frechet.distance(*moments) < 1e-6
    assert mind.mind(points, normal) > 0.1


def test_directions_are_unit_vectors_that_stay_what_they_are():
    lines = mind.directions(2)
    np.testing.assert_allclose(np.linalg.norm(lines, axis=1), 1)
    # The first numbers of the Mersenne Twister from seed 0, made normal: as published for decades.
    first = np.array([1.764052345967664, 0.4001572083672233])
    np.testing.assert_allclose(lines[0], first / np.linalg.norm(first))


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        (((3, 2), (3, 4)), "sets of 2 and 4 features"),
        (((0, 2), (3, 2)), r"shape \(0, 2\); expected rows"),
    ],
)
def test_what_cannot_be_compared_is_refused(shapes, message):
    with pytest.raises(errors.UserError, match=message):
        mind.mind(*(np.zeros(shape) for shape in shapes))


def test_features_that_are_no_numbers_are_refused():
    with pytest.raises(errors.UserError, match="NaN or infinity"):
        mind.mind(np.full((2, 2), np.nan), np.zeros((2, 2)))
