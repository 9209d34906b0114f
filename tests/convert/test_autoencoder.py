"""The VQGAN family: sizes are read off, every published tensor has its place, at every size."""

import math

import numpy as np
import published_layouts as published
import pytest
from flax import nnx

from resgen_jax.convert import autoencoder, rules
from resgen_jax.core import errors, trees
from resgen_jax.nn import conv2d
from resgen_jax.tokenizers import rq_vae

RQ_VAE = dict(width=128, multipliers=(1, 1, 2, 2, 4, 4), num_blocks=2, attention_levels=(5,))
VAR = dict(width=160, multipliers=(1, 1, 2, 2, 4), num_blocks=2, attention_levels=(4,))
SIZES = {
    "rq_vae": (published.autoencoder(**RQ_VAE, latent=256, code_dim=256), 386, 100.2),
    # With the codebook (0.13 M) and phi (0.04 M): 323 tensors and 108.95 M.
    "var": (
        published.autoencoder(**VAR, latent=32, code_dim=32, bridge=3, is_fused=True),
        323 - 9,
        108.95 - 0.17,
    ),
}


def hollow(shapes):
    """Arrays of these shapes that take no memory."""
    return {name: np.broadcast_to(np.float32(0), shape) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", SIZES)
def test_the_published_sizes_are_read_off_and_every_tensor_has_its_place(name):
    shapes, num_tensors, millions = SIZES[name]
    assert len(shapes) == num_tensors
    spec = autoencoder.spec_of(hollow(shapes), 256, "x")
    targets = trees.named_leaves(autoencoder.shapes_of(spec))
    assert trees.num_parameters(targets) / 1e6 == pytest.approx(millions, abs=0.05)
    table = autoencoder.rules_of(spec)
    assert {rule.sources[0] for rule in table} == shapes.keys()
    for rule in table:
        shape = shapes[rule.sources[0]]
        if rule.transform is rules.kernel:
            shape = (shape[2], shape[3], shape[1], shape[0])
        assert targets[rule.target].shape == shape, rule


def test_the_whole_tokenizer_of_var_has_its_published_size():
    quantizer = published.var_quantizer(10, 4, 4096, 32)
    del quantizer["quantize.ema_vocab_hit_SV"]  # a buffer
    shapes = SIZES["var"][0] | quantizer
    assert len(shapes) == 323
    assert sum(map(math.prod, shapes.values())) / 1e6 == pytest.approx(108.95, abs=0.05)


def test_sizes_are_told_apart():
    shapes = published.autoencoder(128, (1, 3), 1, (0, 1), 24, 20)
    spec = autoencoder.spec_of(hollow(shapes), 32, "x")
    assert spec == rq_vae.Spec(
        image_size=32,
        width=128,
        multipliers=(1, 3),
        num_res_blocks=1,
        num_decoder_res_blocks=2,
        attention_sizes=(32, 16),
        latent_channels=24,
        code_dim=20,
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            dict.fromkeys(("encoder.conv_in.weight", "encoder.conv_in.bias")),
            "is no autoencoder of the VQGAN family: .*conv_in",
        ),
        (
            dict.fromkeys(("quant_conv.weight", "post_quant_conv.weight")),
            "it has no array quant_conv.weight",
        ),
        ({"encoder.conv_in.weight": (100, 3, 3, 3)}, "behind a first convolution of 100"),
    ],
)
def test_other_networks_are_refused(change, message):
    shapes = published.autoencoder(128, (1,), 1, (), 8, 8) | change
    arrays = hollow({name: shape for name, shape in shapes.items() if shape})
    with pytest.raises(errors.UserError, match=message):
        autoencoder.spec_of(arrays, 32, "x.pth")


def test_widths_with_other_groups_are_refused():
    # GroupNorm(32) of 64 channels is not what the network here does with them.
    arrays = hollow(published.autoencoder(64, (1,), 1, (), 8, 8))
    with pytest.raises(errors.UserError, match="normalised in 32 groups"):
        autoencoder.spec_of(arrays, 32, "x.pth")
    norm = conv2d.group_norm(128, nnx.Rngs(0))
    assert (norm.num_groups, norm.epsilon) == (32, 1e-6)
