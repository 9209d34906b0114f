"""Laws of LPIPS, and the published parameter counts of its backbones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, trees
from resgen_jax.features import lpips


@pytest.fixture(scope="module")
def network():
    return lpips.make("squeeze")


@pytest.fixture(scope="module")
def params(network):
    return network.init(jax.random.key(0))


@pytest.fixture(scope="module")
def distance_and_gradient(network):
    """Distances, and the gradient of their sum with respect to the second images."""

    def total(second, params, first):
        distances = network.distance(params, first, second)
        return distances.sum(), distances

    def both(params, first, second):
        gradient, distances = jax.grad(total, has_aux=True)(second, params, first)
        return distances, gradient

    return jax.jit(both)


def images(seed, *shape):
    return jnp.asarray(np.random.default_rng(seed).uniform(-1, 1, shape), jnp.float32)


def test_an_image_is_at_no_distance_from_itself(params, distance_and_gradient):
    first = images(0, 2, 32, 32, 3)
    distances, gradient = distance_and_gradient(params, first, first)
    # Two passes are compiled apart, so that the last bits of their features may differ.
    np.testing.assert_allclose(distances, 0, atol=1e-10)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_distance_is_symmetric_and_each_image_by_itself(params, distance_and_gradient):
    first, second = images(0, 2, 32, 32, 3), images(1, 2, 32, 32, 3)
    forward, _ = distance_and_gradient(params, first, second)
    backward, _ = distance_and_gradient(params, second, first)
    swapped, _ = distance_and_gradient(params, first[::-1], second[::-1])
    assert (forward > 0).all()
    np.testing.assert_allclose(forward, backward, rtol=1e-5)
    np.testing.assert_allclose(forward, swapped[::-1], rtol=1e-5)


def test_going_down_the_gradient_brings_images_closer(params, distance_and_gradient):
    first, second = images(0, 2, 32, 32, 3), images(1, 2, 32, 32, 3)
    before, gradient = distance_and_gradient(params, first, second)
    steepest = jnp.sqrt(jnp.sum(gradient**2))
    step = 1e-3 * before.sum() / steepest**2
    after, _ = distance_and_gradient(params, first, second - step * gradient)
    assert float(after.sum() / before.sum()) == pytest.approx(0.999, abs=2e-4)


def test_places_where_every_channel_is_zero_have_a_finite_gradient(params, distance_and_gradient):
    dead = jax.tree.map(jnp.zeros_like, params["backbone"])
    second = images(1, 2, 32, 32, 3)
    distances, gradient = distance_and_gradient({**params, "backbone": dead}, second, second[::-1])
    np.testing.assert_array_equal(distances, 0)
    np.testing.assert_array_equal(gradient, 0)


# Convolutions of the published classifiers, without their dense or last layers, and the heads.
@pytest.mark.parametrize(
    ("backbone", "num_backbone", "num_heads"),
    [
        ("squeeze", 1_235_496 - 513_000, 64 + 128 + 256 + 2 * 384 + 2 * 512),
        ("alex", 2_469_696, 64 + 192 + 384 + 2 * 256),
        ("vgg", 14_714_688, 64 + 128 + 256 + 2 * 512),
    ],
)
def test_parameter_counts_are_the_published_ones(backbone, num_backbone, num_heads, key):
    params = jax.eval_shape(lpips.make(backbone).init, key)
    assert trees.num_parameters(params["backbone"]) == num_backbone
    assert trees.num_parameters(params["heads"]) == num_heads
    shapes = jax.tree.map(lambda leaf: leaf.shape, params)
    assert shapes == lpips.shapes(backbone)


@pytest.mark.parametrize("backbone", sorted(lpips.BACKBONES))
def test_the_smallest_side_is_the_smallest_that_works(backbone, key):
    network = lpips.make(backbone)
    params = jax.eval_shape(network.init, key)
    side = lpips.BACKBONES[backbone].smallest_side
    shape = jax.ShapeDtypeStruct((1, side, side + 1, 3), jnp.float32)
    chosen = lpips.BACKBONES[backbone]
    maps = jax.eval_shape(lambda p, x: lpips._maps(chosen, p, x), params["backbone"], shape)
    assert [values.shape[-1] for values in maps] == chosen.widths
    assert all(values.size for values in maps)
    small = jax.ShapeDtypeStruct((1, side - 1, side + 1, 3), jnp.float32)
    with pytest.raises(errors.UserError, match=f"needs at least {side} on each side"):
        jax.eval_shape(network.distance, params, small, small)


def test_an_unknown_backbone_is_named():
    with pytest.raises(errors.UserError, match="'resnet'; expected one of alex, squeeze, vgg"):
        lpips.make("resnet")
