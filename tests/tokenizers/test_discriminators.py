"""Laws of the two discriminators."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, trees
from resgen_jax.nn import functional
from resgen_jax.tokenizers import discriminators

PATCH = discriminators.Spec(16, channels=2, width=4, num_layers=1, normalization="none")
STYLE = discriminators.Spec(16, channels=2, kind="style_gan", width=4)


def images(count=3, seed=0):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, (count, 16, 16, 2)), jnp.float32)


@pytest.fixture(scope="module", params=[PATCH, STYLE], ids=lambda spec: spec.kind)
def network(request):
    return discriminators.make(request.param)


def test_a_patch_is_scored_by_its_own_pixels():
    network = discriminators.make(PATCH)
    params = jax.tree.map(lambda leaf: 30 * leaf, network.init(jax.random.key(0)))
    moved = jax.jit(jax.jacrev(lambda images: network.apply(params, images)[0]))(images(1))[:, :, 0]
    reach = np.abs(moved).sum(axis=-1) > 0
    assert reach.shape == (6, 6, 16, 16)
    # 4x4 kernels at strides 2, 1, 1 see 2 * (1 + 3 + 3) + 2 = 16 pixels, one score every second.
    for row, column in ((2, 2), (5, 0)):
        rows = np.flatnonzero(reach[row, column].any(axis=1))
        first = 2 * row - 5
        assert (rows[0], rows[-1]) == (max(first, 0), min(first + 15, 15))


@pytest.mark.parametrize("normalization", discriminators.NORMALIZATIONS)
def test_images_meet_in_batch_normalization_alone(normalization):
    network = discriminators.make(dataclasses.replace(PATCH, normalization=normalization))
    params = jax.tree.map(lambda leaf: 10 * leaf, network.init(jax.random.key(0)))
    together, alone = network.apply(params, images())[:1], network.apply(params, images()[:1])
    is_equal = np.allclose(together, alone, rtol=1e-3, atol=1e-4)
    assert is_equal == (normalization != "batch")


def test_batch_normalization_is_that_of_the_whole_batch():
    norm = functional.from_module(lambda rngs: discriminators.BatchNorm(2, rngs))
    params = norm.init(jax.random.key(0))
    plain = {"scale": jnp.ones(2), "bias": jnp.zeros(2)}
    normed = norm.apply(plain, 5 * images() + 3)
    np.testing.assert_allclose(normed.mean(axis=(0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(normed.std(axis=(0, 1, 2)), 1, rtol=1e-4)
    expected = normed * params["scale"][None, None, None] + params["bias"][None, None, None]
    np.testing.assert_allclose(norm.apply(params, 5 * images() + 3), expected, atol=1e-5)


def test_every_parameter_has_a_say(network):
    params = network.init(jax.random.key(0))
    gradient = jax.jit(jax.grad(lambda params: jnp.sum(network.apply(params, images()) ** 2)))
    for name, leaf in trees.named_leaves(gradient(params)).items():
        assert np.any(np.asarray(leaf) != 0), name


def test_the_published_size_of_the_patch_gan():
    """RQ-VAE's: 64 filters, 2 layers; three convolutions with norms between, and one to a score."""
    network = discriminators.make(discriminators.Spec(256))
    count = trees.num_parameters(jax.eval_shape(network.init, jax.random.key(0)))
    kernels = 16 * (3 * 64 + 64 * 128 + 128 * 256 + 256)
    assert count == kernels + (64 + 1) + 2 * (128 + 256)


def test_blurring_is_the_binomial_filter_at_every_second_place():
    values = np.asarray(images(), np.float64)
    padded = np.pad(values, ((0, 0), (1, 1), (1, 1), (0, 0)))
    kernel = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
    expected = np.zeros((3, 8, 8, 2))
    for row in range(8):
        for column in range(8):
            window = padded[:, 2 * row : 2 * row + 4, 2 * column : 2 * column + 4]
            expected[:, row, column] = np.einsum("bhwc,hw->bc", window, kernel)
    np.testing.assert_allclose(discriminators.blur_down(images()), expected, atol=1e-6)


def test_the_deviation_tells_a_varied_batch_from_copies():
    copies = jnp.broadcast_to(images(1), (3, 16, 16, 2))
    assert discriminators.with_deviation(copies)[..., -1].max() < 1e-3
    varied = discriminators.with_deviation(images())
    np.testing.assert_array_equal(varied[..., :-1], images())
    expected = np.mean(np.std(np.asarray(images()), axis=0))
    np.testing.assert_allclose(varied[..., -1], expected, rtol=1e-3)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kind": "patchgan"}, "kind is 'patchgan'; did you mean 'patch_gan'"),
        ({"normalization": "layer"}, "normalization is 'layer'"),
        ({"width": 0}, "width is 0; expected at least 1"),
        ({"num_layers": 4}, "4 layers needs images of 48 pixels or more; these have 16"),
        ({"kind": "style_gan", "image_size": 24}, "images of 24 do not reach"),
    ],
)
def test_what_cannot_be_built_is_refused(fields, message):
    with pytest.raises(errors.UserError, match=message):
        discriminators.Spec(**({"image_size": 16} | fields))
