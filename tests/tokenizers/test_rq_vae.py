"""Laws of the RQ-VAE's two networks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.tokenizers import rq_vae

SPEC = rq_vae.Spec(image_size=8, channels=2, patch_size=2, width=4, multipliers=(1, 2), code_dim=3)


@pytest.fixture(scope="module")
def network():
    return rq_vae.make(SPEC)


@pytest.fixture(scope="module")
def params(network):
    """Random everywhere: at the start, blocks are only their skips."""
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.3, leaf.shape), jnp.float32), shapes
    )


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (3, 8, 8, 2)), jnp.float32)


@pytest.mark.parametrize("patch_size", [1, 2, 4])
def test_unfold_undoes_fold(images, patch_size):
    folded = rq_vae.fold(images, patch_size)
    side = 8 // patch_size
    assert folded.shape == (3, side, side, 2 * patch_size**2)
    np.testing.assert_array_equal(rq_vae.unfold(folded, patch_size), images)


def test_a_place_of_the_folded_map_holds_its_patch(images):
    folded = np.asarray(rq_vae.fold(images, 4))
    for row in range(2):
        for column in range(2):
            patch = images[:, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
            np.testing.assert_array_equal(folded[:, row, column], patch.reshape(3, -1))


@pytest.mark.parametrize(
    ("patch_size", "multipliers", "stride"), [(1, (1,), 1), (4, (1,), 4), (2, (1, 2, 2), 8)]
)
def test_the_grid_is_the_image_in_strides(patch_size, multipliers, stride):
    spec = rq_vae.Spec(image_size=24, patch_size=patch_size, multipliers=multipliers)
    assert spec.stride == stride
    assert spec.grid == (24 // stride, 24 // stride)


@pytest.mark.parametrize(
    ("image_size", "advice"), [(30, "use 28 or 32"), (33, "use 32 or 36"), (3, "use 4")]
)
def test_an_image_that_the_stride_does_not_divide_is_refused(image_size, advice):
    with pytest.raises(
        errors.UserError, match=rf"multiple of the stride 4 \(.*2 x 2\^1\); {advice}$"
    ):
        dataclasses.replace(SPEC, image_size=image_size)


@pytest.mark.parametrize("field", ["image_size", "channels", "patch_size", "width", "code_dim"])
def test_sizes_below_one_are_refused(field):
    with pytest.raises(errors.UserError, match=f"{field} is 0; expected at least 1"):
        dataclasses.replace(SPEC, **{field: 0})


def test_the_spec_refuses_an_empty_network():
    with pytest.raises(errors.UserError, match=r"multipliers are \(\) .* expected"):
        dataclasses.replace(SPEC, multipliers=())
    with pytest.raises(errors.UserError, match=r"multipliers are \(1, 0\) .* expected"):
        dataclasses.replace(SPEC, multipliers=(1, 0))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch_size": 8, "multipliers": (1,)},
        {"patch_size": 1, "multipliers": (1, 2, 2), "attention_sizes": (4,), "num_res_blocks": 2},
    ],
)
def test_codes_lie_on_the_grid_and_images_come_back_in_their_size(changes):
    spec = dataclasses.replace(SPEC, **changes)
    network = rq_vae.make(spec)
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    inputs = jax.ShapeDtypeStruct((5, 8, 8, 2), jnp.float32)

    def both(params, images):
        latents = network.apply(params, images, method="encode")
        return latents, network.apply(params, latents, method="decode")

    latents, decoded = jax.eval_shape(both, shapes, inputs)
    assert latents.shape == (5, spec.grid[0] * spec.grid[1], 3)
    assert decoded.shape == inputs.shape


def test_attention_at_a_size_that_no_map_has_is_refused():
    with pytest.raises(errors.UserError, match=r"holds 8; the feature maps have sides \[2, 4\]"):
        dataclasses.replace(SPEC, attention_sizes=(2, 8))


def test_attention_stands_at_the_sizes_asked_for():
    def num_blocks(sizes):
        spec = dataclasses.replace(
            SPEC, image_size=16, multipliers=(1, 2, 2), attention_sizes=sizes
        )
        axes = rq_vae.make(spec).axes
        return [
            sum("project" in layer for layer in axes[part]["layers"].values())
            for part in ("encoder", "decoder")
        ]

    # Feature maps of 8, 4 and 2 on the way down, the same on the way up.
    assert num_blocks(()) == [0, 0]
    assert num_blocks((4,)) == [1, 1]
    assert num_blocks((2, 8)) == [2, 2]


def test_positions_are_the_places_row_by_row(images):
    spec = dataclasses.replace(SPEC, patch_size=4, multipliers=(1,))
    network = rq_vae.make(spec)
    random = np.random.default_rng(0)

    def own_place_only(leaf):
        """Kernels with nothing but their middle: places meet in the normalisation alone."""
        values = random.normal(0, 0.3, leaf.shape)
        if leaf.ndim == 4:
            middle = values[leaf.shape[0] // 2, leaf.shape[1] // 2].copy()
            values[:] = 0
            values[leaf.shape[0] // 2, leaf.shape[1] // 2] = middle
        return jnp.asarray(values, jnp.float32)

    shapes = jax.eval_shape(network.init, jax.random.key(0))
    params = jax.tree.map(own_place_only, shapes)
    encode = jax.jit(lambda images: network.apply(params, images, method="encode"))
    still = encode(images)
    for position in range(4):
        row, column = divmod(position, 2)
        place = np.s_[0, 4 * row : 4 * row + 4, 4 * column : 4 * column + 4]
        change = np.abs(encode(images.at[place].multiply(-1.0)) - still)[0].sum(axis=-1)
        assert change.argmax() == position
    # And the decoder puts position i back at row i // 2, column i % 2.
    grid = np.zeros((3, 2, 2, 3), np.float32)
    for position in range(4):
        grid[:, position // 2, position % 2] = still[:, position]
    decoded = jax.jit(lambda: network.apply(params, jnp.asarray(grid), method="decoder"))()
    np.testing.assert_allclose(network.apply(params, still, method="decode"), decoded, atol=1e-5)


def test_the_gradient_of_every_position_reaches_the_image_and_back(network, params, images):
    def encoded(images):
        return jnp.sum(network.apply(params, images, method="encode")[0] ** 2, axis=-1)

    jacobian = jax.jit(jax.jacrev(encoded))(images)
    assert jacobian.shape == (4, *images.shape)
    reached = np.abs(jacobian).sum(axis=(2, 3, 4))
    assert np.all(reached[:, 0] > 0)
    assert np.all(reached[:, 1:] == 0)  # other images are none of its business
    latents = jnp.asarray(np.random.default_rng(2).normal(size=(1, 4, 3)), jnp.float32)

    def decoded(latents):
        return network.apply(params, latents, method="decode")[0]

    jacobian = jax.jit(jax.jacrev(decoded))(latents)
    assert np.all(np.abs(jacobian).sum(axis=(0, 1, 2))[0] > 0)


def test_every_parameter_has_an_axis_name_for_each_dimension(network, params):
    jax.tree.map(
        lambda leaf, axes: np.testing.assert_equal(len(axes), leaf.ndim), params, network.axes
    )
    kernels = [
        axes
        for axes in jax.tree.leaves(network.axes, is_leaf=lambda node: isinstance(node, tuple))
        if len(axes) == 4
    ]
    assert kernels
    assert set(kernels) == {(None, None, "embed", "mlp")}


def test_operations_grow_with_the_area_of_the_image():
    counts = [rq_vae.forward_flops(dataclasses.replace(SPEC, image_size=size)) for size in (16, 32)]
    assert counts[1] == 4 * counts[0]
