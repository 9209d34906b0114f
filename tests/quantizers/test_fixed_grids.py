"""Grids as codebooks give the codes of residual LFQ and FSQ, and nothing moves them."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.quantizers import fixed_grids, interface, residual_scalar


def make(name, codebook_size, code_dim, depth=3):
    spec = interface.Spec(code_dim=code_dim, depth=depth, codebook_size=codebook_size)
    return interface.make(name, spec)


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (9, 11, 3))


def test_lfq_codes_are_the_bits(latents, key):
    learner = make("lfq", 8, 3)
    state = learner.init(key)
    quantized = learner.quantize(state, latents)
    expected = residual_scalar.lfq_encode(latents, 3)
    np.testing.assert_array_equal(quantized.codes, expected)
    decoded = residual_scalar.lfq_decode(expected, 3)
    np.testing.assert_allclose(quantized.quantized, decoded, atol=1e-6)


def test_fsq_codes_are_those_of_the_bounded_latents(latents, key):
    learner = make("fsq", 60, 3)
    state = learner.init(key)
    levels = fixed_grids.fsq_levels(60, 3)
    quantized = learner.quantize(state, residual_scalar.fsq_bound(latents, levels))
    expected = residual_scalar.fsq_encode(latents, levels, 3)
    np.testing.assert_array_equal(quantized.codes, expected)
    decoded = residual_scalar.fsq_decode(expected, levels)
    np.testing.assert_allclose(quantized.quantized, decoded, atol=1e-6)


@pytest.mark.parametrize(("name", "codebook_size"), [("lfq", 8), ("fsq", 60)])
def test_nothing_moves_the_grids(name, codebook_size, latents, key):
    learner = make(name, codebook_size, 3)
    state = learner.init(key)
    started = learner.start(state, latents, key)
    updated = learner.update(state, latents, learner.quantize(state, latents), key)
    for other in (started, updated, learner.init(jax.random.fold_in(key, 5))):
        np.testing.assert_array_equal(learner.codebooks(other), learner.codebooks(state))
    assert learner.codebooks(state).shape == (3, codebook_size, 3)
    assert len(np.unique(np.asarray(learner.codebooks(state)[0]), axis=0)) == codebook_size
    assert jnp.abs(learner.codebooks(state)[0]).max() == 1


@pytest.mark.parametrize(
    ("codebook_size", "levels"),
    [
        # The published choices.
        (240, (8, 6, 5)),
        (1000, (8, 5, 5, 5)),
        (4375, (7, 5, 5, 5, 5)),
        (15360, (8, 8, 8, 6, 5)),
        (64000, (8, 8, 8, 5, 5, 5)),
        (16, (2, 2, 2, 2)),
        (7, (7,)),
    ],
)
def test_levels_are_as_even_as_they_can_be(codebook_size, levels):
    assert fixed_grids.fsq_levels(codebook_size, len(levels)) == levels
    assert math.prod(levels) == codebook_size


@pytest.mark.parametrize(
    ("name", "codebook_size", "message"),
    [
        ("lfq", 16, "codebook_size is 16 and code_dim 3; .* such as code_dim 4 with"),
        ("lfq", 12, "codebook_size is 12 .* code_dim 3 with codebook_size 8"),
        ("fsq", 10, "codebook_size is 10 and code_dim 3; .* for code_dim 1 to 2"),
    ],
)
def test_sizes_that_make_no_grid_are_refused(name, codebook_size, message):
    with pytest.raises(errors.UserError, match=message):
        make(name, codebook_size, 3)
