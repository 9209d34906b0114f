"""SimVQ is vector quantization by a mapped codebook, of which the map alone learns."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.losses import quantization
from resgen_jax.quantizers import rvq, sim_vq, vq

NUM_CODES, CODE_DIM = 10, 4


@pytest.fixture
def params(key):
    return sim_vq.init(key, NUM_CODES, CODE_DIM, frozen_dim=6)


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (4, 5, CODE_DIM))


def test_codes_are_those_of_the_mapped_codebook(params, latents):
    table = np.asarray(params["frozen"]) @ np.asarray(params["map"]["kernel"])
    codes, remainder = jax.jit(sim_vq.encode)(params, latents)
    expected, _ = vq.encode(latents, jnp.asarray(table))
    np.testing.assert_array_equal(codes, expected)
    decoded = sim_vq.decode(params, codes)
    np.testing.assert_allclose(decoded, table[np.asarray(codes)], atol=1e-6)
    np.testing.assert_allclose(decoded + remainder, latents, atol=1e-6)


def test_the_map_alone_learns_and_takes_every_code_along(params, latents):
    @jax.jit
    def losses(params, latents):
        codes, _ = sim_vq.encode(params, latents)
        quantized = sim_vq.decode(params, codes)
        pulls = quantization.codebook_loss, quantization.commitment_loss
        return jnp.stack([jnp.mean(pull(latents, quantized)) for pull in pulls])

    to_params, to_latents = jax.jacrev(losses, (0, 1))(params, latents)
    assert (to_params["frozen"] == 0).all()
    assert (to_latents[0] == 0).all()
    assert (to_params["map"]["kernel"][1] == 0).all()
    kernel = params["map"]["kernel"] - 0.5 * to_params["map"]["kernel"][0]
    moved = {**params, "map": {"kernel": kernel}}
    assert losses(moved, latents)[0] < losses(params, latents)[0]
    away = jnp.abs(sim_vq.codebook(moved) - sim_vq.codebook(params))
    assert (away.max(-1) > 0).all()


def test_one_for_each_level_is_an_rvq(latents, key):
    keys = jax.random.split(key, 3)
    params = jax.vmap(lambda one: sim_vq.init(one, NUM_CODES, CODE_DIM))(keys)
    books = jax.vmap(sim_vq.codebook)(params)
    codes, remainder = rvq.encode(latents, books)
    np.testing.assert_allclose(rvq.decode(codes, books) + remainder, latents, atol=1e-5)
    first = jax.tree.map(lambda leaf: leaf[0], params)
    np.testing.assert_array_equal(codes[..., 0], sim_vq.encode(first, latents)[0])
