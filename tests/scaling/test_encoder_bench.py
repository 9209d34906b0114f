"""The comparison's arithmetic with a stand-in peer, and its word when the peer is missing."""

import sys

import pytest

from resgen_jax.core import errors
from resgen_jax.scaling import encoder_bench
from resgen_jax.tokenizers import rq_vae

SPEC = rq_vae.Spec(image_size=8, width=4, multipliers=(1, 1), code_dim=3, patch_size=2)
SIZES = {"batch_size": 5, "depth": 2, "codebook_size": 8, "num_runs": 2}


def test_a_peer_is_compared_code_by_code(monkeypatch):
    def wrong_in_one_level(spec, params, codebooks, images, *, channels_last=False):
        codes = encoder_bench.jax_runner(spec, params, codebooks, images)().copy()
        codes[:, :2, 1] = (codes[:, :2, 1] + 1) % 8
        return lambda: codes

    monkeypatch.setattr(encoder_bench, "torch_runner", wrong_in_one_level)
    report = encoder_bench.compare(SPEC, **SIZES)
    assert report["share_equal_codes"] == pytest.approx(1 - 2 / (4 * 2))
    fastest = max(report[f"{name}_images_per_second"] for name in ("torch", "torch_channels_last"))
    assert report["ratio"] == pytest.approx(report["jax_images_per_second"] / fastest)
    assert report["encoder_gflops_per_image"] * 1e9 == rq_vae.encoder_flops(SPEC)


def test_a_missing_peer_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(errors.UserError, match="needs torch.*peers"):
        encoder_bench.compare(SPEC, **SIZES)


def test_no_runs_are_refused():
    with pytest.raises(errors.UserError, match="num_runs is 0"):
        encoder_bench.compare(num_runs=0)
