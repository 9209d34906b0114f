"""Residual FSQ and LFQ against vector-quantize-pytorch."""

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("vector_quantize_pytorch")

import torch
import vector_quantize_pytorch as peer

from resgen_jax.quantizers import residual_scalar


def numbers(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def test_residual_fsq():
    levels, values = (8, 5, 5, 3), numbers(0, 1, 400, 4)
    module = peer.ResidualFSQ(levels=list(levels), num_quantizers=3).eval()
    with torch.no_grad():
        peer_values, peer_codes = module(torch.tensor(values))
    codes = residual_scalar.fsq_encode(jnp.asarray(values), levels, 3)
    np.testing.assert_array_equal(codes, peer_codes)
    found = residual_scalar.fsq_quantize(jnp.asarray(values), levels, 3)
    np.testing.assert_allclose(found, peer_values, atol=1e-6)


def test_residual_lfq():
    values = numbers(1, 1, 400, 6)
    module = peer.ResidualLFQ(dim=6, codebook_size=2**6, num_quantizers=4).eval()
    with torch.no_grad():
        peer_values, peer_codes, _ = module(torch.tensor(values))
    codes = residual_scalar.lfq_encode(jnp.asarray(values), 4)
    np.testing.assert_array_equal(codes, peer_codes)
    np.testing.assert_allclose(residual_scalar.lfq_decode(codes, 6), peer_values, atol=1e-6)
