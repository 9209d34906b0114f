"""SoftVQ against NumPy: values, limits, segments, what gradients reach, and what is refused."""

import functools
import inspect
import pathlib
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import soft_vq_references as references

from resgen_jax.core import errors
from resgen_jax.quantizers import cosine, soft_vq

GROUPS, NUM_CODES, CODE_DIM = 2, 5, 3
SHAPE = (2, 4, CODE_DIM)

quantize = jax.jit(soft_vq.quantize, static_argnames="max_distances")
train = jax.jit(soft_vq.quantize_for_training, static_argnames="max_distances")
ROOT = pathlib.Path(__file__).parents[2]


@pytest.fixture
def latents(key):
    """Vectors of all lengths."""
    vectors = jax.random.normal(jax.random.fold_in(key, 1), SHAPE)
    return vectors * jnp.exp(jax.random.normal(key, (*SHAPE[:2], 1)))


@pytest.fixture
def codebooks(key):
    tables = jax.random.normal(jax.random.fold_in(key, 2), (GROUPS, NUM_CODES, CODE_DIM))
    return tables * jnp.arange(1.0, NUM_CODES + 1)[None, :, None]


def weights_of(array):
    """Fixed weights, so that a sum depends on every number."""
    return np.random.default_rng(7).normal(size=array.shape)


@pytest.mark.parametrize("temperature", [0.07, 0.5])
@pytest.mark.parametrize("num_codebooks", [1, 2])
def test_value_by_numpy(latents, codebooks, temperature, num_codebooks):
    tables = codebooks[:num_codebooks]
    found = quantize(latents, tables, temperature)
    expected = references.quantize(latents, tables, temperature)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert found.dtype == jnp.float32
    assert (np.linalg.norm(found, axis=-1) <= 1 + 1e-6).all()


def test_the_temperature_is_0_07_unless_given(latents, codebooks):
    np.testing.assert_array_equal(
        quantize(latents, codebooks), quantize(latents, codebooks, jnp.float32(0.07))
    )


def test_cosines_are_squared_distances_of_unit_vectors(latents, codebooks):
    units = references.unit(codebooks)[0]
    square = ((references.unit(latents)[..., None, :] - units) ** 2).sum(-1)
    expected = scipy.special.softmax(-square / (2 * 0.07), axis=-1) @ units
    np.testing.assert_allclose(quantize(latents, codebooks[:1]), expected, atol=1e-5)


def test_lengths_of_latents_and_codes_do_not_matter(latents, codebooks):
    found = quantize(1e3 * latents, 1e-2 * codebooks)
    np.testing.assert_allclose(found, quantize(latents, codebooks), atol=1e-5)


@pytest.mark.parametrize("temperature", [1e-4, 1e-12, 1e-30])
def test_cold_is_the_nearest_code_by_cosine(latents, codebooks, temperature):
    found = quantize(latents, codebooks, temperature)
    for group, part in enumerate(np.split(np.arange(4), GROUPS)):
        codes, _ = cosine.encode(latents[:, part], codebooks[group])
        nearest = cosine.decode(codes, codebooks[group])
        np.testing.assert_allclose(found[:, part], nearest, atol=1e-6)


@pytest.mark.parametrize("temperature", [1e6, np.inf])
def test_hot_is_the_mean_of_the_unit_codes(latents, codebooks, temperature):
    found = quantize(latents, codebooks, temperature)
    means = references.unit(codebooks).mean(1)
    np.testing.assert_allclose(found, np.repeat(means, 2, 0)[None].repeat(2, 0), atol=1e-5)


def test_a_group_is_plain_quantization_of_its_segment(latents, codebooks):
    found = quantize(latents, codebooks)
    for group in range(GROUPS):
        part = slice(2 * group, 2 * group + 2)
        alone = quantize(latents[:, part], codebooks[group : group + 1])
        np.testing.assert_allclose(found[:, part], alone, atol=1e-6)


def test_tokens_may_change_places_within_a_segment_and_not_across(latents, codebooks):
    found = quantize(latents, codebooks)
    within, across = np.array([1, 0, 3, 2]), np.array([2, 3, 0, 1])
    np.testing.assert_allclose(quantize(latents[:, within], codebooks), found[:, within], atol=1e-6)
    moved = quantize(latents[:, across], codebooks)
    assert (np.abs(moved - found[:, across]).max(-1) > 1e-3).all()
    together = quantize(latents[:, across], codebooks[::-1])
    np.testing.assert_allclose(together, found[:, across], atol=1e-6)


def test_gradients_are_those_with_the_codes_held_fixed_in_the_cosines(latents, codebooks):
    weights = weights_of(latents)

    def loss(latents, codebooks):
        return jnp.sum(quantize(latents, codebooks, 0.3) * jnp.asarray(weights, jnp.float32))

    to_latents, to_books = jax.grad(loss, (0, 1))(latents, codebooks)
    expected = references.slopes(
        lambda x: np.sum(references.quantize(x, codebooks, 0.3) * weights), latents
    )
    np.testing.assert_allclose(to_latents, expected, rtol=1e-3, atol=1e-4)
    expected = references.slopes(
        lambda e: np.sum(references.quantize(latents, e, 0.3, fixed=codebooks) * weights),
        codebooks,
    )
    np.testing.assert_allclose(to_books, expected, rtol=1e-3, atol=1e-4)
    # The codes' lengths have no effect, so no gradient either.
    np.testing.assert_allclose(jnp.sum(to_books * codebooks, -1), 0.0, atol=1e-4)


@functools.partial(jax.jit, static_argnames="max_distances")
def gradients_of_all(latents, codebooks, max_distances):
    def loss(latents, codebooks):
        found = soft_vq.quantize_for_training(
            latents, codebooks, 0.3, 0.2, max_distances=max_distances
        )
        alone = soft_vq.quantize(latents, codebooks, 0.4, max_distances=max_distances)
        return jnp.sum(found.quantized**3) + jnp.sum(alone**2) + found.entropy_loss, found

    return jax.grad(loss, (0, 1), has_aux=True)(latents, codebooks)


def test_chunks_change_neither_values_nor_gradients(latents, codebooks):
    # 4 rows of 10 cosines, at once or one by one.
    whole, parts = (gradients_of_all(latents, codebooks, most) for most in (40, 10))
    jax.tree.map(functools.partial(np.testing.assert_allclose, atol=1e-5), parts, whole)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_half_precision_is_computed_in_float32(latents, codebooks, dtype):
    # Squares of such latents are beyond float16.
    latents, codebooks = (3e3 * latents).astype(dtype), codebooks.astype(dtype)
    found = train(latents, codebooks)
    wide = train(latents.astype(jnp.float32), codebooks.astype(jnp.float32))
    assert found.quantized.dtype == jnp.float32
    jax.tree.map(np.testing.assert_array_equal, found, wide)
    assert all(jnp.isfinite(leaf).all() for leaf in jax.tree.leaves(found))
    loss = lambda *pair: jnp.sum(train(*pair).quantized) + train(*pair).entropy_loss  # noqa: E731
    gradients = jax.grad(loss, (0, 1))(latents, codebooks)
    assert all(g.dtype == dtype and jnp.isfinite(g).all() for g in gradients)


def test_latents_without_a_direction_get_the_mean_and_finite_gradients(codebooks):
    nothing = jnp.zeros(SHAPE)
    expected = np.repeat(references.unit(codebooks).mean(1), 2, 0)
    np.testing.assert_allclose(quantize(nothing, codebooks)[0], expected, atol=1e-6)
    gradient = jax.grad(lambda x: jnp.sum(train(x, codebooks).quantized))(nothing)
    assert jnp.isfinite(gradient).all()


def test_an_empty_batch_stays_one(codebooks):
    assert quantize(jnp.zeros((0, 4, CODE_DIM)), codebooks).shape == (0, 4, CODE_DIM)


def test_random_codebooks_are_unit_vectors_that_differ(key):
    tables = soft_vq.random_codebooks(key, 4, 16, 8)
    np.testing.assert_allclose(np.linalg.norm(tables, axis=-1), np.ones((4, 16)), rtol=1e-5)
    similarity = np.einsum("vc,wc->vw", tables.reshape(64, 8), tables.reshape(64, 8))
    assert np.abs(similarity - np.eye(64)).max() < 0.99
    assert abs(float(tables.mean())) < 0.05


BAD = [
    ((2, 4, 3), (2, 5, 4), "latents have 3 channels and the codebook 4"),
    ((2, 5, 3), (2, 5, 3), "length of 5 positions is not a multiple of 2 codebooks"),
    ((2, 4, 3), (0, 5, 3), "codebooks have the shape (0, 5, 3); expected 1 or more"),
    ((2, 4, 3), (2, 0, 3), "expected 1 or more, of 1 or more codes"),
]


@pytest.mark.parametrize("function", [soft_vq.quantize, soft_vq.quantize_for_training])
@pytest.mark.parametrize(("shape", "books", "message"), BAD)
def test_shapes_that_do_not_suit_are_told(function, shape, books, message):
    plain = inspect.unwrap(function)  # without the types that only tests check
    with pytest.raises(errors.UserError, match=re.escape(message)):
        jax.eval_shape(plain, jnp.zeros(shape), jnp.zeros(books))


def test_one_codebook_without_its_axis_is_told(latents, codebooks):
    plain = inspect.unwrap(soft_vq.quantize)
    with pytest.raises(errors.UserError, match=r"codebooks \(5, 3\); expected .* codebook\[None\]"):
        plain(latents, codebooks[0])


@pytest.mark.parametrize("temperature", [0.0, -0.07, float("nan"), 1e-40, jnp.float32(0.0)])
def test_temperatures_that_do_not_divide_are_told(latents, codebooks, temperature):
    with pytest.raises(errors.UserError, match=r"^temperature is .*; expected a number above 0"):
        soft_vq.quantize(latents, codebooks, temperature)
    with pytest.raises(errors.UserError, match=r"^temperature is"):
        soft_vq.quantize_for_training(latents, codebooks, temperature)
    with pytest.raises(errors.UserError, match=r"^entropy_temperature is"):
        soft_vq.quantize_for_training(latents, codebooks, 0.07, temperature)


def test_the_example_of_the_documents_runs():
    text = (ROOT / "docs" / "tokenizers.md").read_text()
    (code,) = (
        block for block in re.findall(r"```python\n(.*?)```", text, re.S) if "soft_vq" in block
    )
    names = {}
    exec(code, names)
    assert names["found"].quantized.shape == names["latents"].shape
