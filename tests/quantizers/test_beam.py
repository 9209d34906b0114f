"""Beam search against all codes there are, and against the greedy ones."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.quantizers import beam, rvq

DEPTH, NUM_CODES, CODE_DIM = 3, 4, 2

encode = jax.jit(beam.encode, static_argnames=("num_beams", "max_distances"))


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (20, 5, CODE_DIM))


@pytest.fixture
def codebooks(key):
    table = jax.random.normal(jax.random.fold_in(key, 2), (DEPTH, NUM_CODES, CODE_DIM))
    return table * 0.7 ** jnp.arange(DEPTH, dtype=jnp.float32)[:, None, None]


def square_error(remainder):
    return np.sum(np.asarray(remainder, np.float64) ** 2, -1)


def best_of_all(latents, codebooks):
    """Least squared error over all codes, in float64."""
    books = np.asarray(codebooks, np.float64)
    sums = [
        sum(books[level][code] for level, code in enumerate(codes))
        for codes in itertools.product(range(NUM_CODES), repeat=DEPTH)
    ]
    away = np.asarray(latents, np.float64)[..., None, :] - np.stack(sums)
    return (away**2).sum(-1).min(-1)


def by_loop(latent, codebooks, num_beams, known=(None,) * DEPTH):
    """Beam search of one vector with plain lists, in float64; known codes take nothing."""
    beams = [((), np.asarray(latent, np.float64))]
    for table, given in zip(np.asarray(codebooks, np.float64), known, strict=True):
        children = [
            ((*codes, code), residual - table[code] * (given is None))
            for codes, residual in beams
            for code in (range(len(table)) if given is None else [given])
        ]
        beams = sorted(children, key=lambda child: (child[1] ** 2).sum())[:num_beams]
    return beams[0]


def test_one_beam_is_greedy_bit_for_bit(latents, codebooks):
    expected = jax.jit(rvq.encode)(latents, codebooks)
    jax.tree.map(np.testing.assert_array_equal, encode(latents, codebooks, 1), expected)


def test_beams_that_hold_every_prefix_find_the_best_codes(latents, codebooks):
    codes, remainder = encode(latents, codebooks, NUM_CODES ** (DEPTH - 1))
    np.testing.assert_allclose(square_error(remainder), best_of_all(latents, codebooks), atol=1e-6)
    np.testing.assert_allclose(rvq.decode(codes, codebooks) + remainder, latents, atol=1e-6)


@pytest.mark.parametrize("num_beams", [2, 3])
def test_codes_are_those_of_a_plain_loop_or_better_greedy_ones(latents, codebooks, num_beams):
    codes, remainder = encode(latents, codebooks, num_beams)
    _, greedy = rvq.encode(latents, codebooks)
    error, greedy_error = square_error(remainder), square_error(greedy)
    assert (error <= greedy_error + 1e-7).all()
    assert (error < greedy_error - 1e-3).any()
    for place in np.ndindex(latents.shape[:-1]):
        expected_codes, expected = by_loop(latents[place], codebooks, num_beams)
        assert error[place] == pytest.approx(
            min(square_error(expected), greedy_error[place]), abs=1e-6
        )
        if square_error(expected) < greedy_error[place] - 1e-6:
            assert tuple(codes[place].tolist()) == expected_codes


def test_greedy_is_kept_where_the_beams_lost_it():
    # From 1: greedy takes 0.9, 0.19 and then exactly -0.09. Two beams keep the two nearest sums of
    # two levels, 1.01 and 0.99, from which no third code comes close.
    books = jnp.array([[[0.9], [0.8], [5.0]], [[0.0], [0.21], [0.19]], [[-0.09], [0.5], [5.0]]])
    assert square_error(by_loop([1.0], books, 2)[1]) > 0.005
    codes, remainder = encode(jnp.array([[1.0]]), books, 2)
    np.testing.assert_array_equal(codes, [[0, 2, 0]])
    assert square_error(remainder)[0] < 1e-9


def test_the_remainder_moves_latents_and_codebooks_whichever_codes_won(latents, codebooks):
    codes, _ = encode(latents, codebooks, 3)

    def found(latents, codebooks):
        return jnp.sum(beam.encode(latents, codebooks, 3)[1] ** 2)

    def by_hand(latents, codebooks):
        return jnp.sum((latents - rvq.decode(codes, codebooks)) ** 2)

    pair = latents, codebooks
    gradients = (jax.jit(jax.grad(loss, (0, 1)))(*pair) for loss in (found, by_hand))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), *gradients)


def test_chunks_change_no_code(latents, codebooks):
    whole, _ = encode(latents, codebooks, 3)
    parts, _ = encode(latents, codebooks, 3, max_distances=7 * 3 * NUM_CODES)
    np.testing.assert_array_equal(parts, whole)


def test_devices_find_what_one_finds(latents, codebooks):
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    found, _ = encode(jax.device_put(latents, rows), codebooks, 3)
    np.testing.assert_array_equal(found, encode(latents, codebooks, 3)[0])


def test_codes_of_bad_numbers_stay_in_range(codebooks):
    codes, _ = encode(jnp.full((20, 5, CODE_DIM), jnp.nan), codebooks, 3)
    assert ((codes >= 0) & (codes < NUM_CODES)).all()


def test_no_beam_is_told(latents, codebooks):
    with pytest.raises(errors.UserError, match="num_beams is 0; expected 1 or more"):
        beam.encode(latents, codebooks, 0)


@pytest.mark.parametrize("max_distances", [2**20, 3 * NUM_CODES * 7])
def test_masked_levels_are_searched_and_known_ones_kept(latents, codebooks, key, max_distances):
    random = np.random.default_rng(0)
    known = random.integers(0, NUM_CODES, (*latents.shape[:-1], DEPTH)).astype(np.int32)
    is_masked = random.random(known.shape) < 0.7
    fill = jax.jit(beam.encode_masked, static_argnames=("num_beams", "max_distances"))
    arrays = latents, jnp.asarray(known), jnp.asarray(is_masked), codebooks
    greedy = np.asarray(jax.jit(rvq.encode_masked)(*arrays))
    np.testing.assert_array_equal(fill(*arrays, 1), greedy)
    found = np.asarray(fill(*arrays, 3, max_distances=max_distances))
    np.testing.assert_array_equal(found[~is_masked], known[~is_masked])
    books, num_better = np.asarray(codebooks, np.float64), 0

    def error(place, codes):
        hidden = np.flatnonzero(is_masked[place])
        taken = sum((books[level][codes[level]] for level in hidden), np.zeros(CODE_DIM))
        return ((np.asarray(latents[place], np.float64) - taken) ** 2).sum()

    for place in np.ndindex(latents.shape[:-1]):
        given = [
            None if hidden else int(code)
            for hidden, code in zip(is_masked[place], known[place], strict=True)
        ]
        codes, _ = by_loop(latents[place], codebooks, 3, given)
        least = min(error(place, codes), error(place, greedy[place]))
        np.testing.assert_allclose(error(place, found[place]), least, atol=1e-5)
        num_better += error(place, found[place]) < error(place, greedy[place]) - 1e-5
    assert num_better > 0


def test_beams_give_a_sum_of_code_vectors_its_codes_again(latents, codebooks):
    """What greedy search fails at: the codes that the tokenizer chose, from their sum."""
    many = NUM_CODES ** (DEPTH - 1)
    codes, _ = encode(latents, codebooks, many)
    is_masked = jnp.ones(codes.shape, bool)
    sums = rvq.decode(codes, codebooks)
    again = beam.encode_masked(sums, jnp.zeros_like(codes), is_masked, codebooks, many)
    np.testing.assert_array_equal(again, codes)
    greedy = rvq.encode_masked(sums, jnp.zeros_like(codes), is_masked, codebooks)
    assert np.any(greedy != codes)
