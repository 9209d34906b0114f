"""Codebooks of fewer channels: values by NumPy, and which leaf the losses move."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from resgen_jax.losses import quantization
from resgen_jax.quantizers import cosine, gradients, projection

WIDTH, CODE_DIM = 8, 3


@pytest.fixture
def params(key):
    params = projection.init(key, WIDTH, CODE_DIM)
    biases = jax.random.normal(key, (CODE_DIM,)), jax.random.normal(key, (WIDTH,))
    return {
        name: {"kernel": params[name]["kernel"], "bias": bias}
        for name, bias in zip(("in", "out"), biases, strict=True)
    }


@pytest.fixture
def latents(key):
    return jax.random.normal(jax.random.fold_in(key, 1), (4, 5, WIDTH))


def test_both_maps_are_linear_with_a_bias(params, latents):
    params_of = jax.tree.map(np.asarray, params)
    inner = np.asarray(latents) @ params_of["in"]["kernel"] + params_of["in"]["bias"]
    found = projection.project_in(params, latents)
    np.testing.assert_allclose(found, inner, atol=1e-5)
    outer = inner @ params_of["out"]["kernel"] + params_of["out"]["bias"]
    np.testing.assert_allclose(projection.project_out(params, found), outer, atol=1e-5)


def test_each_loss_moves_its_own_leaves(params, latents, key):
    table = jax.random.normal(key, (6, CODE_DIM))

    @jax.jit
    def losses(params, table):
        inner = cosine.normalise(projection.project_in(params, latents))
        codes, _ = cosine.encode(inner, table)
        quantized = cosine.decode(codes, table)
        outer = projection.project_out(params, gradients.straight_through(inner, quantized))
        return jnp.stack(
            [
                jnp.mean((outer - latents) ** 2),
                jnp.mean(quantization.commitment_loss(inner, quantized)),
                jnp.mean(quantization.codebook_loss(inner, quantized)),
            ]
        )

    to_params, to_table = jax.jacrev(losses, (0, 1))(params, table)

    def moves(leaf):
        return [bool(jnp.abs(row).max() > 0) for row in leaf]

    # In turn: reconstruction, commitment, codebook.
    assert moves(to_table) == [False, False, True]
    for name in ("kernel", "bias"):
        assert moves(to_params["in"][name]) == [True, True, False]
        assert moves(to_params["out"][name]) == [True, False, False]
