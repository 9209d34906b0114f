"""Sampling examples of different lengths together: each comes out as it does alone."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_rq_transformer

from resgen_jax.core import keys, spaces
from resgen_jax.generators import (
    interface,
    resgen,
    resgen_sampler,
    rq_transformer,
    rq_transformer_sampler,
)

LENGTHS = np.array([6, 3, 3])
IS_VALID = jnp.asarray(np.arange(6)[None] < LENGTHS[:, None])
LABELS = jnp.array([0, 2, 1], jnp.int32)
ROW_KEYS = keys.example_keys(jax.random.key(7), jnp.arange(3))


@pytest.fixture(scope="module")
def line(tiny):
    """The space of the tiny ResGen as a line."""
    return spaces.Space(tiny.space.codes, 6, condition=tiny.space.condition)


def test_resgen_draws_padded_rows_as_it_does_without_padding(tiny, line):
    spec = resgen_sampler.Spec(num_steps=3, guidance_scale=2.0)
    sampler = resgen_sampler.Sampler(resgen.make(tiny.spec, line), line, spec.choices)
    prompt = tiny.codes[:3]
    is_kept = jnp.arange(6)[None, :, None] < 1  # the first position is told
    known = interface.nothing_known_of(IS_VALID, 3)
    known = known._replace(codes=prompt, is_masked=known.is_masked & ~is_kept)

    def sample(rows, known):
        num_tokens = np.asarray(known.is_masked.sum(axis=(1, 2)))
        plan = resgen_sampler.plan(spec, num_tokens)
        return np.asarray(
            sampler.sample(tiny.params, tiny.codebooks, ROW_KEYS[rows], LABELS[rows], plan, known)
        )

    together = sample(slice(None), known)
    short = slice(1, None)  # of three positions
    own = interface.Known(known.codes[short, :3], known.is_masked[short, :3])
    np.testing.assert_array_equal(together[short, :3], sample(short, own))
    np.testing.assert_array_equal(together[~np.asarray(IS_VALID)], prompt[~np.asarray(IS_VALID)])
    np.testing.assert_array_equal(together[:, 0], prompt[:, 0])


def test_rq_transformer_draws_each_row_as_it_does_without_padding():
    """Positions are drawn one after the other: what follows the end of a row has no say in it."""
    space = dataclasses.replace(tiny_rq_transformer.SPACE, grid=None)
    network = rq_transformer.make(tiny_rq_transformer.SPEC, space)
    params = tiny_rq_transformer.random_params(network)
    sampler = rq_transformer_sampler.RqTransformerSampler(network, tiny_rq_transformer.SPEC, space)
    plan = rq_transformer_sampler.plan(rq_transformer_sampler.Spec(), space.codes.depth)
    told = params, tiny_rq_transformer.codebooks(), ROW_KEYS, LABELS, plan
    whole = np.asarray(sampler.sample(*told))
    padded = np.asarray(sampler.sample(*told, interface.nothing_known_of(IS_VALID, 4)))
    is_valid = np.asarray(IS_VALID)
    np.testing.assert_array_equal(padded[is_valid], whole[is_valid])
    np.testing.assert_array_equal(padded[~is_valid], 0)
