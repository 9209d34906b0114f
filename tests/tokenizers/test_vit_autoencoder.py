"""Laws of the two networks of the 1-D tokenizer, and the sizes published of them."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import numpy_networks
import numpy_vit
import pytest

from resgen_jax.core import build, errors, trees
from resgen_jax.nn import patches, vit
from resgen_jax.quantizers import soft_vq
from resgen_jax.tokenizers import vit_autoencoder

SMALL = vit.Spec(num_layers=2, width=8, num_heads=2, mlp_ratio=2, remat="none")
SPEC = vit_autoencoder.Spec(
    image_size=6,
    channels=2,
    patch_size=2,
    length=4,
    code_dim=3,
    encoder=SMALL,
    decoder=dataclasses.replace(SMALL, num_layers=1, width=6, num_heads=3),
)
CODEBOOKS, CODEBOOK_SIZE = 4, 8192


def shapes_of(spec):
    return jax.eval_shape(vit_autoencoder.make(spec).init, jax.random.key(0))


def draw(*shape, seed=0, deviation=1.0):
    drawn = np.random.default_rng(seed).normal(0, deviation, shape)
    return jnp.asarray(drawn, jnp.float32)


def applied(spec, method):
    def apply(params, values):
        return vit_autoencoder.make(spec).apply(params, values, method=method)

    return jax.jit(apply)


@pytest.fixture(scope="module")
def params():
    """Of every size, so that each of them tells."""
    leaves, structure = jax.tree.flatten(shapes_of(SPEC))
    drawn = [draw(*leaf.shape, seed=seed, deviation=0.7) for seed, leaf in enumerate(leaves)]
    return jax.tree.unflatten(structure, drawn)


@pytest.fixture(scope="module")
def images():
    return draw(2, *SPEC.images_shape, seed=1000)


@pytest.fixture(scope="module")
def latents(params, images):
    return applied(SPEC, "encode")(params, images)


@pytest.mark.parametrize(
    ("sizes", "length", "image_size", "expected"),
    [
        ("ss", 64, 256, 44_839_200),
        ("bb", 64, 256, 173_563_680),
        ("bb", 32, 256, 174_587_712),
        ("bl", 64, 256, 391_334_432),
        ("bl", 32, 256, 392_358_464),
        ("ll", 64, 256, 608_924_448),
        ("ll", 32, 256, 609_940_288),
        ("bl", 64, 512, 392_710_688),
        ("bl", 32, 512, 393_734_720),
        ("ll", 32, 512, 611_513_152),
    ],
)
def test_published_sizes_have_their_parameters(sizes, length, image_size, expected):
    """With the codebooks and the decoder's patch embedding, which is counted but never used."""
    spec = vit_autoencoder.preset(*sizes, length, image_size)
    codebooks = CODEBOOKS * CODEBOOK_SIZE * spec.code_dim
    unused = (spec.patch_dim + 1) * spec.decoder.width
    assert trees.num_parameters(shapes_of(spec)) + codebooks + unused == expected


def test_a_published_file_has_its_bytes():
    """SoftVQ-B of 32 latents: 697.04 MB of float32, with a buffer of 65,536 codes a codebook."""
    spec = vit_autoencoder.preset("b", "b", 32)
    codebooks = CODEBOOKS * (CODEBOOK_SIZE * spec.code_dim + 65_536)
    assert round(4e-6 * (trees.num_parameters(shapes_of(spec)) + codebooks), 2) == 697.04


def test_latents_equal_a_numpy_loop(params, images, latents):
    wide = numpy_networks.double(params["encoder"]), np.asarray(images, np.float64)
    wanted = numpy_vit.encode(*wide, SPEC.patch_size, SPEC.encoder.num_heads)
    assert latents.dtype == jnp.float32
    np.testing.assert_allclose(latents, wanted, atol=3e-5)


def test_images_equal_a_numpy_loop(params):
    given = draw(2, SPEC.length, SPEC.code_dim, seed=7)
    found = applied(SPEC, "decode")(params, given)
    wide = numpy_networks.double(params["decoder"]), np.asarray(given, np.float64)
    wanted = numpy_vit.decode(*wide, SPEC.images_shape, 2, SPEC.decoder.num_heads)
    assert found.dtype == jnp.float32
    np.testing.assert_allclose(found, wanted, atol=3e-5)


def test_the_order_of_patches_matters_and_that_of_images_does_not(params, images, latents):
    encode = applied(SPEC, "encode")
    swapped = jnp.concatenate([images[:, 2:4], images[:, :2], images[:, 4:]], axis=1)
    assert np.min(np.max(np.abs(encode(params, swapped) - latents), axis=(1, 2))) > 0.01
    np.testing.assert_allclose(encode(params, images[::-1])[::-1], latents, atol=1e-5)
    # Without positions, only which patches there are would matter.
    vit_params = params["encoder"]["vit"]
    level = vit_params | {"positions": jnp.zeros_like(vit_params["positions"])}
    blind = params | {"encoder": params["encoder"] | {"vit": level}}
    np.testing.assert_allclose(encode(blind, swapped), encode(blind, images), atol=1e-5)


def test_the_order_of_latents_matters(params, latents):
    decode = applied(SPEC, "decode")
    turned = decode(params, latents[:, ::-1]) - decode(params, latents)
    assert np.min(np.max(np.abs(turned), axis=(1, 2, 3))) > 0.01


def test_gradients_reach_every_parameter_through_the_quantizer(params, images):
    network = vit_autoencoder.make(SPEC)
    codebooks = soft_vq.random_codebooks(jax.random.key(1), 2, 16, SPEC.code_dim)

    def loss(params, codebooks):
        quantized = soft_vq.quantize(network.apply(params, images, method="encode"), codebooks)
        return jnp.mean((network.apply(params, quantized, method="decode") - images) ** 2)

    of_params, of_codebooks = jax.jit(jax.grad(loss, (0, 1)))(params, codebooks)
    assert np.any(of_codebooks != 0)
    for name, leaf in trees.named_leaves(of_params).items():
        # A bias of all keys moves all logits of a query alike: softmax does not see it.
        if not name.endswith("attention/key/bias"):
            assert np.max(np.abs(leaf)) > 1e-5, name


def test_bfloat16_is_close_and_comes_out_in_float32(params, images, latents):
    networks = {
        name: dataclasses.replace(getattr(SPEC, name), compute_dtype="bfloat16")
        for name in ("encoder", "decoder")
    }
    low = dataclasses.replace(SPEC, **networks)
    for method, given in (("encode", images), ("decode", latents)):
        exact, found = (applied(spec, method)(params, given) for spec in (SPEC, low))
        assert found.dtype == jnp.float32
        assert np.any(found != exact)
        # And was not rounded last: hardly a number is one that bfloat16 could hold.
        assert np.mean(found == found.astype(jnp.bfloat16).astype(jnp.float32)) < 0.2
        assert np.sqrt(np.mean((found - exact) ** 2)) < 0.03 * np.std(exact)


def test_layers_into_and_out_of_the_transformers_start_even():
    spec = vit_autoencoder.Spec(16, 1, 8, 20, 16, SMALL, dataclasses.replace(SMALL, width=64))
    start = vit_autoencoder.make(spec).init(jax.random.key(0))
    encoder, decoder = start["encoder"], start["decoder"]
    for layer in (encoder["patches"], encoder["out"], decoder["latents"], decoder["out"]):
        bound = 1 / np.sqrt(len(layer["kernel"]))
        assert 0.95 * bound < np.max(np.abs(layer["kernel"])) <= bound
        assert 0.5 * bound < np.max(np.abs(layer["bias"])) <= bound
    tables = [encoder["latent_tokens"], encoder["latent_positions"]]
    for table in (*tables, decoder["latent_positions"], decoder["mask_token"]):
        np.testing.assert_allclose(np.std(table), 0.02, rtol=0.25)


def test_the_cost_is_that_of_its_matmuls():
    """SoftVQ-B of 64 latents: 321 positions in 12 layers of 768 channels, twice."""
    spec = vit_autoencoder.preset("b", "b")
    layer = 321 * 12 * 768**2 + 2 * 321**2 * 768
    ends = 256 * spec.patch_dim * 768 + spec.length * 768 * spec.code_dim
    found = vit_autoencoder.forward_flops(spec)
    assert found == 2 * 2 * (12 * layer + ends)


def test_every_large_array_has_an_axis_to_be_spread_over():
    network = vit_autoencoder.make(vit_autoencoder.preset("b", "b"))
    whole = 0

    def see(leaf, names):
        nonlocal whole
        assert len(names) == leaf.ndim
        whole += 0 if set(names) - {None, "layers"} else leaf.size

    jax.tree.map(see, jax.eval_shape(network.init, jax.random.key(0)), network.axes)
    assert whole == 32 + 16 * 16 * 3  # the biases of latents and pixels


def test_at_another_image_size_only_positions_change(params):
    larger, spec = vit_autoencoder.at_image_size(params, SPEC, 10)
    wanted = shapes_of(dataclasses.replace(SPEC, image_size=10))
    assert jax.tree.map(jnp.shape, larger) == jax.tree.map(jnp.shape, wanted)
    assert applied(spec, "encode")(larger, draw(1, 10, 10, 2)).shape == (1, 4, 3)
    old, new = trees.named_leaves(params), trees.named_leaves(larger)
    moved = {name for name, leaf in old.items() if new[name].shape != leaf.shape}
    assert moved == {"encoder/vit/positions", "decoder/vit/positions"}
    for name in moved:
        wanted = patches.resize_positions(old[name], (3, 3), (5, 5))
        np.testing.assert_array_equal(new[name], wanted)
    for name in old.keys() - moved:
        np.testing.assert_array_equal(new[name], old[name])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"image_size": 7}, "image_size 7 is not a multiple of patch_size 2; use 6 or 8"),
        ({"image_size": 1}, "image_size 1 is not a multiple of patch_size 2; use 2"),
        ({"length": 0}, "length is 0; expected at least 1"),
        ({"patch_size": 0}, "patch_size is 0; expected at least 1"),
        ({"code_dim": 0}, "code_dim is 0; expected at least 1"),
        ({"encoder": {"width": 9}}, "encoder: width 9 is not a multiple of num_heads"),
    ],
)
def test_specs_that_make_no_sense_are_refused(changes, message):
    with pytest.raises(errors.UserError, match=message):
        build.change(SPEC, changes)


def test_presets_images_and_latents_that_do_not_suit_are_refused(params):
    apply = vit_autoencoder.make(SPEC).apply
    with pytest.raises(errors.UserError, match=r"images are \(8, 8, 2\); .* for \(6, 6, 2\)"):
        apply(params, jnp.zeros((1, 8, 8, 2)), method="encode")
    with pytest.raises(errors.UserError, match=r"latents are \(4, 2\); .* for \(4, 3\)"):
        apply(params, jnp.zeros((1, 4, 2)), method="decode")
    with pytest.raises(errors.UserError, match="size 'x' is unknown; known: b, l, s"):
        vit_autoencoder.preset("b", "x")
    with pytest.raises(errors.UserError, match="length is 48; expected one that divides 2048"):
        vit_autoencoder.preset("b", "b", 48)
