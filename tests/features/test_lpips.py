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


def mirrored(values):
    return jnp.pad(values, ((0, 0), (4, 4), (4, 4), (0, 0)), mode="reflect")


def test_as_a_loss_it_is_the_distance_of_mirrored_images_where_all_maps_have_places(
    network, params
):
    first, second = images(0, 2, 64, 64, 3), images(1, 2, 64, 64, 3)
    found = jax.jit(network.loss)(params, first, second)
    expected = jax.jit(network.distance)(params, mirrored(first), mirrored(second))
    np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("backbone", "num_maps"), [("squeeze", 3), ("alex", 2), ("vgg", 4)])
def test_maps_of_a_place_or_two_have_no_say_in_the_loss(backbone, num_maps):
    """One mark stands for the whole image there. At 32x32 the deep maps are such."""
    network, chosen = lpips.make(backbone), lpips.BACKBONES[backbone]
    params = jax.eval_shape(network.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)

    def loss_with(num_heads):
        heads = {str(index): params["heads"][str(index)] for index in range(num_heads)}
        return jax.eval_shape(network.loss, {**params, "heads": heads}, image, image)

    assert loss_with(num_maps).shape == (1,)  # the other heads are never asked for
    with pytest.raises(KeyError):
        loss_with(num_maps - 1)
    maps = jax.eval_shape(
        lambda p, x: list(lpips._maps(chosen, p, mirrored(x))), params["backbone"], image
    )
    sides = [min(values.shape[1:3]) for values in maps]
    assert sides[num_maps - 1] >= 3
    assert sides[num_maps] < 3


def test_the_loss_sees_every_pixel_and_the_edges_as_much_as_the_rest(
    network, params, distance_and_gradient
):
    """The map of its gradient, averaged over images: `distance` never sees the last row."""
    first, second = images(0, 16, 32, 32, 3), images(1, 16, 32, 32, 3)

    _, blind = distance_and_gradient(params, first[:2], second[:2])
    assert not np.any(blind[:, -1])
    assert not np.any(blind[:, :, -1])
    total = jax.jit(jax.grad(lambda part: network.loss(params, first, part).sum()))
    found = np.abs(total(second)).mean((0, 3))
    assert found.min() > 0.15 * found.mean()
    middle = found[8:24, 8:24].mean()
    edges = [found[:4, 8:24], found[-4:, 8:24], found[8:24, :4], found[8:24, -4:]]
    shares = [edge.mean() / middle for edge in edges]  # trained weights on photographs: 1.0
    assert 0.75 < min(shares) <= max(shares) < 1.6
    np.testing.assert_allclose(shares[::2], shares[1::2], rtol=0.15)


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
    maps = jax.eval_shape(lambda p, x: list(lpips._maps(chosen, p, x)), params["backbone"], shape)
    assert [values.shape[-1] for values in maps] == chosen.widths
    assert all(values.size for values in maps)
    small = jax.ShapeDtypeStruct((1, side - 1, side + 1, 3), jnp.float32)
    with pytest.raises(errors.UserError, match=f"needs at least {side} on each side"):
        jax.eval_shape(network.distance, params, small, small)


def test_an_unknown_backbone_is_named():
    with pytest.raises(errors.UserError, match="'resnet'; expected one of alex, squeeze, vgg"):
        lpips.make("resnet")
