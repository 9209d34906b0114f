"""A converted PatchGAN against the same layers in PyTorch, from both kinds of checkpoint."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")

import torch

from resgen_jax.convert import patch_gan
from resgen_jax.core import errors
from resgen_jax.tokenizers import discriminators

torch.set_num_threads(1)


def network():
    torch.manual_seed(0)
    conv, norm, leaky = torch.nn.Conv2d, torch.nn.BatchNorm2d, torch.nn.LeakyReLU
    made = torch.nn.Module()
    made.main = torch.nn.Sequential(
        *(conv(3, 4, 4, 2, 1), leaky(0.2)),
        *(conv(4, 8, 4, 2, 1, bias=False), norm(8), leaky(0.2)),
        *(conv(8, 16, 4, 1, 1, bias=False), norm(16), leaky(0.2)),
        conv(16, 1, 4, 1, 1),
    )
    for parameter in made.parameters():
        parameter.requires_grad_(False)
        parameter += 0.2 * torch.randn_like(parameter)
    return made


@pytest.mark.parametrize("place", ["rq_vae", "vqgan"])
def test_scores_are_equal(tmp_path, place):
    theirs = network()
    arrays = theirs.state_dict()
    if place == "vqgan":
        named = {f"loss.discriminator.{name}": array for name, array in arrays.items()}
        saved = {"state_dict": named | {"encoder.conv_in.weight": torch.ones(2)}}
    else:
        saved = {"state_dict": {"encoder.conv_in.weight": torch.ones(2)}, "discriminator": arrays}
    torch.save(saved, tmp_path / "x.pt")
    spec, params = patch_gan.convert(tmp_path / "x.pt", image_size=16)
    assert (spec.width, spec.num_layers) == (4, 2)
    images = torch.rand(2, 3, 16, 16) * 2 - 1
    expected = theirs.main(images)[:, 0].numpy()
    apply = jax.jit(discriminators.make(spec).apply)
    found = apply(jax.tree.map(jnp.asarray, params), images.permute(0, 2, 3, 1).numpy().copy())
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_file_without_one_is_refused(tmp_path):
    torch.save({"state_dict": {"encoder.conv_in.weight": torch.ones(2)}}, tmp_path / "x.pt")
    with pytest.raises(errors.UserError, match="no PatchGAN"):
        patch_gan.convert(tmp_path / "x.pt")
