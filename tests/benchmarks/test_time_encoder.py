"""The comparison's arithmetic with a stand-in peer, and the command."""

import functools
import re
import sys

import jax
import numpy as np
import pytest
import time_encoder

from resgen_jax.core import errors
from resgen_jax.tokenizers import rq_vae

SPEC = rq_vae.Spec(image_size=8, width=4, multipliers=(1, 1), code_dim=3, patch_size=2)
SIZES = {"batch_size": 5, "depth": 2, "codebook_size": 8, "num_runs": 2}


def test_a_peer_is_compared_code_by_code(monkeypatch):
    def wrong_in_one_level(spec, params, codebooks, images, *, channels_last=False):
        codes = time_encoder.jax_runner(spec, params, codebooks, images)().copy()
        codes[:, :2, 1] = (codes[:, :2, 1] + 1) % 8
        return lambda: codes

    monkeypatch.setattr(time_encoder, "torch_runner", wrong_in_one_level)
    report = time_encoder.compare(SPEC, **SIZES)
    assert report["share_equal_codes"] == pytest.approx(1 - 2 / (4 * 2))
    fastest = max(report[f"{name}_images_per_second"] for name in ("torch", "torch_channels_last"))
    assert report["ratio"] == pytest.approx(report["jax_images_per_second"] / fastest)
    assert report["encoder_gflops_per_image"] * 1e9 == rq_vae.encoder_flops(SPEC)


def test_our_half_chooses_nearest_codes_of_the_latents():
    params, codebooks, images = time_encoder.random_problem(SPEC, 3, 2, 8, seed=0)
    codes = time_encoder.jax_runner(SPEC, params, codebooks, images)()
    encode = jax.jit(functools.partial(rq_vae.make(SPEC).apply, method="encode"))
    residual = np.asarray(encode(params, images))
    for level, table in enumerate(codebooks):
        distances = ((residual[:, :, None] - table) ** 2).sum(-1)
        np.testing.assert_array_equal(codes[..., level], distances.argmin(-1))
        residual = residual - table[codes[..., level]]


def test_a_missing_peer_is_told_in_a_line_before_anything_runs(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(time_encoder, "compare", None)
    assert time_encoder.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"python \S+/time_encoder\.py: .*needs torch, .*peers.*\n", captured.err)


def test_flags_reach_the_comparison(monkeypatch, capsys):
    given = {}
    monkeypatch.setattr(time_encoder, "PACKAGES", ())
    monkeypatch.setattr(
        time_encoder, "compare", lambda **sizes: given.update(sizes) or {"ratio": 2.0}
    )
    assert time_encoder.main(["--num_steps=3", "--batch_size=16"]) == 0
    assert given == {"num_runs": 3, "batch_size": 16}
    assert capsys.readouterr().out.split() == ["ratio:", "2"]


def test_no_runs_are_refused():
    with pytest.raises(errors.UserError, match="num_runs is 0"):
        time_encoder.compare(num_runs=0)
