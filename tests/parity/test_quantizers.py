"""RVQ encoding against vector-quantize-pytorch with the same codebooks."""

import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("vector_quantize_pytorch")

import time_rvq

from resgen_jax.quantizers import rvq


def test_codes_and_vectors_equal_the_peers():
    latents, codebooks = time_rvq.random_problem(0, 512, 16, 64, 4)
    peer_codes = time_rvq.torch_runner(latents, codebooks)()
    tables = jnp.asarray(codebooks)
    codes, _ = rvq.encode(jnp.asarray(latents), tables)
    assert np.mean(np.asarray(codes) == peer_codes) >= 0.999
    np.testing.assert_allclose(
        rvq.decode(codes, tables),
        sum(codebooks[level][peer_codes[:, level]] for level in range(4)),
        atol=1e-4,
    )


def test_the_comparison_reports_both_sides():
    report = time_rvq.compare(num_vectors=256, code_dim=8, codebook_size=32, depth=2, num_runs=2)
    assert report["share_equal_codes"] >= 0.999
    assert report["ratio"] == pytest.approx(report["torch_seconds"] / report["jax_seconds"])
