"""Residual scalar codes are plain RVQ of the grids that they never write down."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.quantizers import residual_scalar, rvq, scalar

LEVELS, DEPTH = (2, 3, 5), 3


@pytest.fixture
def latents(key):
    return jax.random.normal(key, (6, 7, len(LEVELS)))


def grids():
    """Every level's grid points, the first channel's step counting least."""
    steps = [np.linspace(-1, 1, count) for count in LEVELS]
    points = np.array([point[::-1] for point in itertools.product(*steps[::-1])])
    return np.stack([points * np.array(LEVELS, float) ** -level for level in range(DEPTH)])


def test_lfq_codes_are_rvq_of_shrinking_cubes(latents):
    corners = scalar.lfq_decode(jnp.arange(8), 3)
    books = jnp.stack([corners * 0.5**level for level in range(DEPTH)])
    codes = residual_scalar.lfq_encode(latents, DEPTH)
    expected, remainder = rvq.encode(latents, books)
    np.testing.assert_array_equal(codes, expected)
    decoded = residual_scalar.lfq_decode(codes, 3)
    np.testing.assert_allclose(decoded, latents - remainder, atol=1e-6)
    # Inside the cube of side 4, what is left is never more than the last sign.
    inside = jnp.clip(latents, -1.9, 1.9)
    error = inside - residual_scalar.lfq_decode(residual_scalar.lfq_encode(inside, DEPTH), 3)
    assert jnp.abs(error).max() <= 0.5 ** (DEPTH - 1)


def test_fsq_codes_are_rvq_of_finer_grids(latents):
    bounded = residual_scalar.fsq_bound(latents, LEVELS)
    books = jnp.asarray(grids(), jnp.float32)
    codes = residual_scalar.fsq_encode(latents, LEVELS, DEPTH)
    expected, _ = rvq.encode(bounded, books)
    np.testing.assert_array_equal(codes, expected)
    for given in (1, DEPTH):
        decoded = residual_scalar.fsq_decode(codes[..., :given], LEVELS)
        np.testing.assert_allclose(decoded, rvq.decode(codes[..., :given], books), atol=1e-6)


def test_fsq_error_shrinks_by_the_levels_and_the_gradient_is_the_bounds(latents):
    bounded = residual_scalar.fsq_bound(latents, LEVELS)
    counts = np.array(LEVELS, float)
    for depth in (1, 2, 3):
        codes = residual_scalar.fsq_encode(latents, LEVELS, depth)
        error = np.abs(np.asarray(bounded - residual_scalar.fsq_decode(codes, LEVELS)))
        half_step = counts ** (1 - depth) / (counts - 1)
        assert (error.reshape(-1, 3).max(0) <= half_step + 1e-5).all()

    def total(function):
        return jax.grad(lambda x: jnp.sum(function(x)))(latents)

    through = total(lambda x: residual_scalar.fsq_quantize(x, LEVELS, DEPTH))
    np.testing.assert_allclose(
        through, total(lambda x: residual_scalar.fsq_bound(x, LEVELS)), atol=1e-6
    )


def test_bad_arguments_are_told(latents):
    with pytest.raises(errors.UserError, match="depth is 0; expected 1 or more"):
        residual_scalar.lfq_encode(latents, 0)
    with pytest.raises(errors.UserError, match=r"levels are \(1, 3, 3\); expected 2 or more"):
        residual_scalar.fsq_bound(latents, (1, 3, 3))
    with pytest.raises(errors.UserError, match="3 channels and there are 2 levels"):
        residual_scalar.fsq_encode(latents, (3, 3), 1)
