"""Seams: steps counted by hand, and who scores how between a perfect completion and a guess."""

import itertools

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.metrics import seams

UPPER = np.array([[True, True], [False, False]])


def smooth(seed, count=50, side=16):
    """Waves of a colour of their own, as smooth as photographs of much sky."""
    random = np.random.default_rng(seed)
    place = np.arange(side) / side
    down, right, shift = random.uniform(0, 6, (3, count, 1, 1, 1))
    waves = np.sin(down * place[:, None, None] + right * place[None, :, None] + shift)
    return (127 + 100 * waves * random.uniform(0.3, 1, (count, 1, 1, 3))).astype(np.uint8)


def spliced(images, others, is_kept):
    pixels = is_kept.repeat(8, axis=0).repeat(8, axis=1)
    return np.where(pixels[None, :, :, None], images, others)


def test_steps_are_those_counted_pair_by_pair():
    images = np.random.default_rng(0).integers(0, 256, (3, 6, 4, 3), np.uint8)
    is_kept = np.array([[True, False], [True, True], [False, False]])
    pixels = is_kept.repeat(2, axis=0).repeat(2, axis=1)
    steps = {True: [], False: []}
    for row, column in itertools.product(range(6), range(4)):
        for below, right in ((1, 0), (0, 1)):
            other = row + below, column + right
            if other[0] < 6 and other[1] < 4:
                step = np.abs(images[:, row, column].astype(float) - images[:, *other]).mean(-1)
                steps[bool(pixels[row, column] != pixels[other])].append(step)
    np.testing.assert_allclose(seams.across(images, is_kept), np.mean(steps[True], axis=0))
    np.testing.assert_allclose(seams.elsewhere(images, is_kept), np.mean(steps[False], axis=0))


@pytest.mark.parametrize("is_kept", [UPPER, UPPER.T, np.array([[True, False], [False, False]])])
def test_a_perfect_completion_scores_as_real_and_guessers_worse(is_kept):
    real = smooth(0)
    expected = seams.across(real, is_kept).mean()
    perfect = spliced(real, real, is_kept)
    stranger = spliced(real, smooth(1), is_kept)
    noise = spliced(real, np.random.default_rng(2).integers(0, 256, real.shape, np.uint8), is_kept)
    assert seams.across(perfect, is_kept).mean() == expected
    scores = [seams.across(made, is_kept).mean() for made in (stranger, noise)]
    assert min(scores) > 3 * expected
    assert seams.agreement(expected, expected, scores[0]) == 1
    assert seams.agreement(scores[0], expected, scores[0]) == 0
    # A stranger's part is smooth in itself: only the seam tells.
    elsewhere = seams.elsewhere(stranger, is_kept).mean()
    assert elsewhere == pytest.approx(seams.elsewhere(real, is_kept).mean(), rel=0.3)


def test_a_stranger_no_worse_than_real_says_nothing():
    assert seams.agreement(5.0, 4.0, 4.0) is None


def test_grids_that_do_not_fit_and_no_seam_are_refused():
    with pytest.raises(errors.UserError, match=r"grid of \(3, 3\) cells does not divide"):
        seams.across(smooth(0), np.zeros((3, 3), bool))
    with pytest.raises(errors.UserError, match="of 4 cells 4 are kept"):
        seams.across(smooth(0), np.ones((2, 2), bool))
