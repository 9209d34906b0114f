"""The encoder against the same blocks in PyTorch, which the speed comparison times."""

import dataclasses

import jax
import numpy as np
import pytest
import time_encoder

from resgen_jax.tokenizers import rq_vae

torch = pytest.importorskip("torch")

SPEC = rq_vae.Spec(
    image_size=16,
    width=8,
    multipliers=(1, 2),
    num_res_blocks=2,
    attention_sizes=(8,),
    latent_channels=6,
    code_dim=5,
)


@pytest.mark.parametrize(
    "changes",
    [{}, {"attention": "fused", "bridge_size": 3}, {"patch_size": 2, "attention_sizes": ()}],
)
def test_latents_and_codes_are_those_of_torch(changes):
    import torch_encoder

    spec = dataclasses.replace(SPEC, **changes)
    params, codebooks, images = time_encoder.random_problem(spec, 3, 2, 16, seed=0)
    latents = jax.jit(
        lambda params, images: rq_vae.make(spec).apply(params, images, method="encode")
    )(params, images)
    encoder = torch_encoder.Encoder(spec, params, torch.contiguous_format)
    found = encoder(torch.from_numpy(images.copy()).permute(0, 3, 1, 2)).numpy()
    np.testing.assert_allclose(latents, found, rtol=1e-4, atol=1e-4)
    ours = time_encoder.jax_runner(spec, params, codebooks, images)()
    for channels_last in (False, True):
        theirs = time_encoder.torch_runner(
            spec, params, codebooks, images, channels_last=channels_last
        )()
        assert np.mean(ours == theirs) > 0.99
