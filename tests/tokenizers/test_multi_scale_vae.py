"""Laws of the multi-scale tokenizer."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.core import errors, trees
from resgen_jax.quantizers import multi_scale
from resgen_jax.tokenizers import multi_scale_vae, rq_vae

SPEC = rq_vae.Spec(
    image_size=8,
    channels=1,
    width=4,
    multipliers=(1, 1),
    num_res_blocks=0,
    num_decoder_res_blocks=0,
    num_middle_blocks=0,
    bridge_size=3,
    latent_channels=5,
    code_dim=3,
)
SCALES = multi_scale.Spec((1, 2, 4), 4, 2)


@pytest.fixture(scope="module")
def tokenizer():
    return multi_scale_vae.make(SPEC, SCALES, 11)


@pytest.fixture(scope="module")
def params(tokenizer):
    random = np.random.default_rng(0)
    shapes = jax.eval_shape(tokenizer.init, jax.random.key(0))
    return jax.tree.map(
        lambda leaf: jnp.asarray(random.normal(0, 0.5, leaf.shape), "float32"), shapes
    )


@pytest.fixture(scope="module")
def images():
    return jnp.asarray(np.random.default_rng(1).uniform(-1, 1, (2, 8, 8, 1)), jnp.float32)


def test_encoding_is_the_networks_then_the_quantizer(tokenizer, params, images):
    codes = jax.jit(tokenizer.encode)(params, images)
    assert codes.shape == (2, 1 + 4 + 16)
    latents = tokenizer.latents(params, images)
    np.testing.assert_array_equal(codes, multi_scale.encode(params["quantizer"], latents, SCALES))
    network = rq_vae.make(SPEC)
    flat = network.apply(params["networks"], images, method="encode")
    np.testing.assert_allclose(latents.reshape(2, 16, 3), flat, atol=1e-6)


def test_more_scales_change_the_image_and_the_first_ones_do_not_see_them(tokenizer, params, images):
    codes = tokenizer.encode(params, images)
    decode = jax.jit(tokenizer.decode)
    coarse, whole = decode(params, codes[:, :5]), decode(params, codes)
    assert coarse.shape == whole.shape == images.shape
    assert np.abs(coarse - whole).max() > 1e-3
    other = codes.at[:, 5:].set((codes[:, 5:] + 1) % 11)
    np.testing.assert_array_equal(decode(params, other[:, :5]), coarse)


def test_axes_name_every_dimension(tokenizer):
    shapes = jax.eval_shape(tokenizer.init, jax.random.key(0))
    is_axes = {"is_leaf": lambda node: isinstance(node, tuple)}
    assert jax.tree.map(lambda leaf: leaf.ndim, shapes) == jax.tree.map(
        len, tokenizer.axes, **is_axes
    )


def test_the_size_is_the_published_one():
    """VAR's: 108.9 M in 323 tensors, eight of which, those of phi, are stacked to two."""
    spec = rq_vae.Spec(
        image_size=256,
        width=160,
        multipliers=(1, 1, 2, 2, 4),
        num_res_blocks=2,
        num_decoder_res_blocks=3,
        attention_sizes=(16,),
        attention="fused",
        bridge_size=3,
        code_dim=32,
    )
    made = multi_scale_vae.make(spec, multi_scale.Spec(), 4096)
    shapes = jax.eval_shape(made.init, jax.random.key(0))
    assert trees.num_parameters(shapes) / 1e6 == pytest.approx(108.9, abs=0.06)
    assert len(jax.tree.leaves(shapes)) == 323 - 8 + 2


def test_scales_that_do_not_end_at_the_grid_are_refused():
    with pytest.raises(errors.UserError, match="scales end at 5; choose scales that end at 4"):
        multi_scale_vae.make(SPEC, multi_scale.Spec((1, 5), 5, 1), 11)
