"""Laws of residual quantization, against a NumPy loop."""

import functools

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import pytest
import scipy.special

from resgen_jax.core import errors
from resgen_jax.quantizers import rvq, vq

DEPTH, NUM_CODES, CODE_DIM = 4, 16, 5

encode = jax.jit(rvq.encode)
decode = jax.jit(rvq.decode)


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (8, 6, CODE_DIM))


@pytest.fixture
def codebooks(key):
    table = jax.random.normal(jax.random.fold_in(key, 2), (DEPTH, NUM_CODES, CODE_DIM))
    return table * 0.7 ** jnp.arange(DEPTH, dtype=jnp.float32)[:, None, None]


def brute_force(latents, codes, is_masked, codebooks):
    """Conditional RVQ one vector and one level at a time, in float64."""
    codes, books = np.array(codes), np.asarray(codebooks, np.float64)
    for place in np.ndindex(latents.shape[:-1]):
        residual = np.asarray(latents[place], np.float64)
        for level in range(len(books)):
            if is_masked[place][level]:
                found = ((residual - books[level]) ** 2).sum(-1).argmin()
                codes[place][level] = found
                residual = residual - books[level][found]
    return codes


def test_codes_are_those_of_a_plain_loop(latents, codebooks):
    codes, _ = encode(latents, codebooks)
    all_hidden = np.ones(codes.shape, bool)
    np.testing.assert_array_equal(codes, brute_force(latents, codes, all_hidden, codebooks))


def test_codes_and_remainder_rebuild_the_latents(latents, codebooks):
    codes, remainder = encode(latents, codebooks)
    np.testing.assert_allclose(decode(codes, codebooks) + remainder, latents, atol=1e-5)


def test_error_never_grows_with_depth_when_codebooks_hold_zero(latents, codebooks):
    codebooks = codebooks.at[:, 0].set(0.0)
    codes, _ = encode(latents, codebooks)
    sums = rvq.partial_sums(codes, codebooks)
    error = jnp.sum((latents[..., None, :] - sums) ** 2, axis=-1)
    assert (jnp.diff(error, axis=-1) <= 1e-6).all()
    assert error[..., -1].mean() < 0.9 * error[..., 0].mean()


def test_a_sum_of_codebook_vectors_is_exact(codebooks, key):
    # Directions of unit length, each level twenty times smaller, so that greedy search is right.
    books = codebooks / jnp.linalg.norm(codebooks, axis=-1, keepdims=True)
    books = books * 0.05 ** jnp.arange(DEPTH, dtype=jnp.float32)[:, None, None]
    codes = jax.random.randint(key, (30, DEPTH), 0, NUM_CODES)
    found, remainder = encode(decode(codes, books), books)
    np.testing.assert_array_equal(found, codes)
    np.testing.assert_allclose(remainder, jnp.zeros_like(remainder), atol=1e-6)


def test_prefix_of_codes_is_a_shallower_rvq(latents, codebooks):
    codes, _ = encode(latents, codebooks)
    shallow, remainder = encode(latents, codebooks[:2])
    np.testing.assert_array_equal(codes[..., :2], shallow)
    np.testing.assert_allclose(decode(codes[..., :2], codebooks), latents - remainder, atol=1e-5)


def test_partial_sums_are_the_decoded_prefixes(latents, codebooks):
    codes, _ = encode(latents, codebooks)
    sums = rvq.partial_sums(codes, codebooks)
    for level in range(DEPTH):
        np.testing.assert_allclose(
            sums[..., level, :], decode(codes[..., : level + 1], codebooks), atol=1e-6
        )


def test_decode_first_keeps_each_examples_own_levels(latents, codebooks):
    codes, _ = encode(latents, codebooks)
    num_levels = jnp.arange(8) % DEPTH + 1
    kept = rvq.decode_first(codes, codebooks, num_levels)
    for row, num in enumerate(num_levels):
        expected = decode(codes[row, :, : int(num)], codebooks)
        np.testing.assert_allclose(kept[row], expected, atol=1e-6)


@pytest.mark.parametrize("mask", ["any", "deepest_first", "all", "none"])
def test_masked_levels_alone_are_quantized_anew(latents, codebooks, key, mask):
    codes, _ = encode(latents, codebooks)
    num_hidden = jax.random.randint(key, (8, 6, 1), 0, DEPTH + 1)
    levels = jnp.broadcast_to(jnp.arange(DEPTH), codes.shape)
    is_masked = {
        "any": jax.random.bernoulli(key, 0.5, codes.shape),
        "deepest_first": levels >= DEPTH - num_hidden,
        "all": levels >= 0,
        "none": levels < 0,
    }[mask]
    proposal = jax.random.normal(key, latents.shape)
    filled = jax.jit(rvq.encode_masked)(proposal, codes, is_masked, codebooks)
    np.testing.assert_array_equal(filled, brute_force(proposal, codes, is_masked, codebooks))
    np.testing.assert_array_equal(jnp.where(is_masked, codes, filled), codes)


@pytest.mark.parametrize("max_distances", [2**20, 7 * NUM_CODES])
def test_log_probabilities_are_the_softmax_of_the_distances(latents, codebooks, key, max_distances):
    codes, _ = encode(latents, codebooks)
    is_masked = jax.random.bernoulli(key, 0.6, codes.shape)
    log_scale = jax.random.uniform(key, latents.shape[:-1], minval=-2.0, maxval=1.0)
    # Rows that only fill a codebook up have no share.
    books = rvq.stack([codebooks[0], codebooks[1, :3], *codebooks[2:]])
    run = functools.partial(rvq.encode_masked_with_log_prob, max_distances=max_distances)
    filled, log_prob = jax.jit(run)(latents, codes, is_masked, books, log_scale)
    np.testing.assert_array_equal(filled, rvq.encode_masked(latents, codes, is_masked, books))
    for place in np.ndindex(latents.shape[:-1]):
        residual = np.asarray(latents[place], np.float64)
        for level in np.flatnonzero(is_masked[place]):
            table = np.asarray(books[level], np.float64)[: 3 if level == 1 else None]
            squared = ((residual - table) ** 2).sum(-1)
            share = scipy.special.log_softmax(-squared / 2 / np.exp(2 * float(log_scale[place])))
            code = int(filled[place][level])
            np.testing.assert_allclose(log_prob[place][level], share[code], rtol=1e-4, atol=1e-4)
            residual = residual - table[code]


def test_moments_are_those_of_evenly_drawn_codes(codebooks):
    books = rvq.stack([codebooks[0], codebooks[1, :3]])
    mean, variance = rvq.code_moments(books)
    for level, size in enumerate((NUM_CODES, 3)):
        table = np.asarray(codebooks[level, :size], np.float64)
        np.testing.assert_allclose(mean[level], table.mean(0), rtol=1e-5, atol=1e-6)
        np.testing.assert_allclose(variance[level], table.var(0).mean(), rtol=1e-5)
        assert np.sum(rvq.is_padding(books)[level]) == NUM_CODES - size


def test_depth_one_is_vector_quantization(latents, codebooks):
    codes, remainder = vq.encode(latents, codebooks[0])
    deep_codes, deep_remainder = encode(latents, codebooks[:1])
    np.testing.assert_array_equal(codes, deep_codes[..., 0])
    np.testing.assert_array_equal(remainder, deep_remainder)
    np.testing.assert_allclose(vq.decode(codes, codebooks[0]) + remainder, latents, atol=1e-6)


def test_a_shared_codebook_is_the_same_on_every_level(latents, codebooks):
    shared = rvq.share(codebooks[0], 3)
    codes, _ = encode(latents, shared)
    apart, _ = encode(latents, jnp.stack([codebooks[0]] * 3))
    np.testing.assert_array_equal(codes, apart)


def test_levels_may_have_different_numbers_of_codes(latents, codebooks):
    tables = [codebooks[0], codebooks[1, :3], codebooks[2, :7]]
    books = rvq.stack(tables)
    codes, remainder = encode(latents, books)
    residual = np.asarray(latents, np.float64)
    for level, table in enumerate(np.asarray(table, np.float64) for table in tables):
        expected = ((residual[..., None, :] - table) ** 2).sum(-1).argmin(-1)
        np.testing.assert_array_equal(codes[..., level], expected)
        residual = residual - table[expected]
    np.testing.assert_allclose(remainder, residual, atol=1e-5)
    with pytest.raises(errors.UserError, match=r"codebooks have \[5, 4\] channels"):
        rvq.stack([codebooks[0], codebooks[1][:, :4]])


def test_devices_keep_their_own_rows(latents, codebooks):
    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    chunked = jax.jit(functools.partial(rvq.encode, max_distances=16 * NUM_CODES))
    sharded = jax.device_put(latents, rows)
    compiled = chunked.lower(sharded, codebooks).compile()
    assert "all-gather" not in compiled.as_text()
    assert "all-to-all" not in compiled.as_text()
    codes, remainder = compiled(sharded, codebooks)
    assert codes.sharding.is_equivalent_to(rows, codes.ndim)
    expected, expected_remainder = chunked(latents, codebooks)
    np.testing.assert_array_equal(codes, expected)
    np.testing.assert_allclose(remainder, expected_remainder, atol=1e-6)


def test_bad_shapes_are_told(latents, codebooks, monkeypatch):
    codes, _ = rvq.encode(latents, codebooks)
    with pytest.raises(errors.UserError, match="depth is 0"):
        rvq.share(codebooks[0], 0)
    with pytest.raises(errors.UserError, match="4 levels and there are 2 codebooks; .* at most 2"):
        rvq.decode(codes, codebooks[:2])
    with pytest.raises(errors.UserError, match="4 levels and there are 2 codebooks"):
        rvq.partial_sums(codes, codebooks[:2])
    # Without the type checks of the tests, as a user runs it.
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(errors.UserError, match="5 channels and the codebook 4"):
        rvq.encode(latents, codebooks[..., :4])
    with pytest.raises(errors.UserError, match="codes have 2 levels"):
        rvq.encode_masked(latents, codes[..., :2], codes[..., :2] > 0, codebooks)
