"""Laws of the RQ-VAE's two networks."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, trees
from resgen_jax.tokenizers import rq_vae

SPEC = rq_vae.Spec(
    image_size=8,
    channels=2,
    patch_size=2,
    width=4,
    multipliers=(1, 2),
    num_decoder_res_blocks=1,
    num_middle_blocks=1,
    has_middle_attention=False,
    bridge_size=0,
    code_dim=3,
)
PARTS = ("encoder", "decoder")
# Of 256x256 images; parameters, tensors, of them in encoder and decoder (in millions).
PUBLISHED = {
    "RQ-VAE, 8x8": (
        rq_vae.Spec(
            image_size=256,
            width=128,
            multipliers=(1, 1, 2, 2, 4, 4),
            num_res_blocks=2,
            num_decoder_res_blocks=3,
            attention_sizes=(8,),
            latent_channels=256,
            code_dim=256,
        ),
        (100.2, 386, 41.1, 59.0),
    ),
    # Without the quantizer: 4096 x 32 of codebook and four 3x3 convolutions make 108.9 M and 323.
    "VAR's tokenizer": (
        rq_vae.Spec(
            image_size=256,
            width=160,
            multipliers=(1, 1, 2, 2, 4),
            num_res_blocks=2,
            num_decoder_res_blocks=3,
            attention_sizes=(16,),
            attention="fused",
            latent_channels=32,
            bridge_size=3,
            code_dim=32,
        ),
        (108.9 - 0.17, 323 - 9, 44.1, 64.7),
    ),
}


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
    with pytest.raises(errors.UserError, match=r"multipliers are \(\); expected"):
        dataclasses.replace(SPEC, multipliers=())
    with pytest.raises(errors.UserError, match=r"multipliers are \(1, 0\); expected"):
        dataclasses.replace(SPEC, multipliers=(1, 0))


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"patch_size": 8, "multipliers": (1,)},
        {"patch_size": 1, "multipliers": (1, 2, 2), "attention_sizes": (4,), "num_res_blocks": 2},
        {"bridge_size": 3, "latent_channels": 7, "num_middle_blocks": 2, "dtype": "bfloat16"},
        {"num_res_blocks": 0, "num_decoder_res_blocks": 0, "num_middle_blocks": 0},
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


@pytest.mark.parametrize("kind", ["separate", "fused"])
def test_attention_stands_at_the_sizes_asked_for(kind):
    def num_attentions(sizes, **changes):
        spec = dataclasses.replace(
            SPEC,
            image_size=16,
            multipliers=(1, 2, 2),
            num_decoder_res_blocks=2,
            attention=kind,
            attention_sizes=sizes,
            **changes,
        )
        axes = rq_vae.make(spec).axes
        return [
            [len(stage.get("attentions", {})) for stage in axes[part]["stages"].values()]
            + ["attention" in axes[part]["middle"]]
            for part in ("encoder", "decoder")
        ]

    # Feature maps of 8, 4 and 2 on the way down, 2, 4 and 8 on the way up.
    assert num_attentions(()) == [[0, 0, 0, False], [0, 0, 0, False]]
    assert num_attentions((4,)) == [[0, 1, 0, False], [0, 2, 0, False]]
    assert num_attentions((2, 8)) == [[1, 0, 1, False], [2, 0, 2, False]]
    assert num_attentions((), has_middle_attention=True) == [[0, 0, 0, True], [0, 0, 0, True]]


@pytest.mark.parametrize("name", PUBLISHED)
def test_sizes_are_the_published_ones(name):
    spec, (total, num_tensors, encoder, decoder) = PUBLISHED[name]
    params = jax.eval_shape(rq_vae.make(spec).init, jax.random.key(0))
    assert len(jax.tree.leaves(params)) == num_tensors
    counts = [trees.num_parameters(part) / 1e6 for part in (params, *map(params.get, PARTS))]
    np.testing.assert_allclose(counts, [total, encoder, decoder], atol=0.06)


def test_the_first_convolution_has_the_width_and_the_first_block_its_multiple():
    """VQGAN's conv_in; only where the first multiplier is 1 are the two the same."""
    network = rq_vae.make(dataclasses.replace(SPEC, multipliers=(3, 2)))
    shapes = jax.eval_shape(network.init, jax.random.key(0))
    encoder = shapes["encoder"]
    assert encoder["conv_in"]["kernel"].shape[-1] == SPEC.width
    skip = encoder["stages"]["0"]["blocks"]["0"]["skip"]["kernel"]
    assert skip.shape[-2:] == (SPEC.width, 3 * SPEC.width)
    assert shapes["decoder"]["conv_out"]["kernel"].shape[-2] == 3 * SPEC.width


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"attention": "fusd"}, "attention is 'fusd'; did you mean 'fused'"),
        ({"dtype": "float16"}, "dtype is 'float16'; did you mean"),
        ({"bridge_size": 2}, "bridge_size is 2; expected 0, 1 or 3"),
        ({"latent_channels": 5}, "latent_channels is 5 and code_dim 3, but bridge_size 0"),
        ({"num_res_blocks": -1}, "num_res_blocks is -1; expected 0 or more"),
    ],
)
def test_networks_that_cannot_be_built_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        dataclasses.replace(SPEC, **changes)


def test_features_and_the_last_convolution_make_the_image(network, params):
    latents = jnp.asarray(np.random.default_rng(2).normal(size=(2, 4, 3)), jnp.float32)
    features = network.apply(params, latents, method="features")
    kernel, bias = (params["decoder"]["conv_out"][name] for name in ("kernel", "bias"))
    finished = network.apply(params, features, method="finish")
    folded = jax.lax.conv_general_dilated(
        features, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    expected = rq_vae.unfold(folded + bias[None, None, None, :], SPEC.patch_size)
    np.testing.assert_allclose(finished, expected, atol=1e-4)
    np.testing.assert_array_equal(finished, network.apply(params, latents, method="decode"))


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
    decode = jax.jit(lambda latents: network.apply(params, latents, method="decode"))

    def swapped(images, first, second):
        """Row by row, the patches `first` and `second` of each image in each other's place."""
        order = np.arange(4)
        order[[first, second]] = second, first
        patches = np.asarray(images).reshape(3, 2, 4, 2, 4, 2).swapaxes(2, 3).reshape(3, 4, 4, 4, 2)
        moved = patches[:, order].reshape(3, 2, 2, 4, 4, 2).swapaxes(2, 3).reshape(images.shape)
        return jnp.asarray(moved), order

    # Statistics of the normalisation are those of all places: patches that change places take
    # their latents with them, and latents that change places take their patches.
    for pair in ((0, 1), (1, 2), (0, 3)):
        moved, order = swapped(images, *pair)
        np.testing.assert_allclose(encode(moved), still[:, order], atol=1e-4)
        assert np.abs(still[:, order] - still).max() > 1e-2
        moved, _ = swapped(decode(still), *pair)
        np.testing.assert_allclose(decode(still[:, order]), moved, atol=1e-4)


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
