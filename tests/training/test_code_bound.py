"""The likelihood bound: exact where there is one order, above it where there are more."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np

from resgen_jax.core import keys
from resgen_jax.processes import rvq_masking
from resgen_jax.training import code_bound


def estimates(joint, codes, masks):
    """The bound's estimate under each mask, for codes of a law given as a table of all stacks.

    What is told of a code is its exact conditional probability given what the mask shows.
    """
    codes, found = np.asarray(codes), []
    for mask in masks:
        shown = [
            values
            for values in np.ndindex(*joint.shape)
            if all(values[i] == codes.ravel()[i] for i in np.flatnonzero(~mask.ravel()))
        ]
        total = sum(joint[values] for values in shown)

        def nll(level, mask=mask, shown=shown, total=total):
            cells = np.arange(mask.size).reshape(mask.shape)
            matching = np.array(
                [
                    [
                        sum(joint[v] for v in shown if v[cell] == codes.ravel()[cell]) / total
                        for cell in row
                    ]
                    for row in cells
                ]
            )
            table = jnp.asarray(-np.log(matching), jnp.float32)
            return {"code_nll": jnp.take(table, level, axis=-1)[None]}

        found.append(float(code_bound.nats_a_code(jnp.asarray(mask[None]), nll)["code_nll"][0]))
    return np.array(found)


def every_mask(length, depth):
    """All masks of coarse codes first that hide something, and how often each comes."""
    num_codes = length * depth
    for hidden in itertools.product(range(depth + 1), repeat=length):
        total = sum(hidden)
        if total:
            ways = math.prod(math.comb(depth, k) for k in hidden) / math.comb(num_codes, total)
            mask = np.asarray(rvq_masking.mask_from_num_hidden(jnp.array(hidden), depth))
            yield mask, ways / num_codes


def bound(joint, codes):
    masks, chances = zip(*every_mask(*np.shape(codes)), strict=True)
    return float(np.dot(estimates(joint, codes, masks), chances)) * np.size(codes)


def test_for_one_position_the_bound_is_the_exact_likelihood():
    """There is one order: from coarse to fine."""
    joint = np.random.default_rng(0).dirichlet(np.ones(27)).reshape(3, 3, 3)
    for codes in ([[0, 1, 2]], [[2, 2, 0]]):
        exact = -math.log(joint[tuple(codes[0])])
        np.testing.assert_allclose(bound(joint, codes), exact, rtol=1e-5)


def test_a_model_that_knows_the_law_pays_the_same_in_every_order():
    """Exact conditionals make every order's product the joint: the bound is tight."""
    joint = np.random.default_rng(1).dirichlet(np.ones(16)).reshape(2, 2, 2, 2)
    codes = [[0, 1], [1, 0]]
    np.testing.assert_allclose(bound(joint, codes), -math.log(joint[0, 1, 1, 0]), rtol=1e-5)


def test_a_guesser_pays_the_logarithm_of_the_codebook():
    nll = {"code_nll": jnp.full((4, 6), math.log(7))}
    row_keys = keys.example_keys(jax.random.key(0), jnp.arange(4))
    is_masked = code_bound.sample_mask(row_keys, 6, 3)
    found = code_bound.nats_a_code(is_masked, lambda level: nll)["code_nll"]
    np.testing.assert_allclose(found, math.log(7), rtol=1e-5)


def test_every_number_of_hidden_codes_comes_as_often_and_padding_is_none_of_them():
    row_keys = keys.example_keys(jax.random.key(1), jnp.arange(6000))
    is_valid = jnp.broadcast_to(jnp.array([True, True, False]), (6000, 3))
    is_masked = np.asarray(jax.jit(lambda: code_bound.sample_mask(row_keys, 3, 2, is_valid))())
    assert not is_masked[:, 2].any()
    counts = np.bincount(is_masked.sum((1, 2)), minlength=5)
    assert counts[0] == 0
    np.testing.assert_allclose(counts[1:] / 6000, 0.25, atol=0.03)
