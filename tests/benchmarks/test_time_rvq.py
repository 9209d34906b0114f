"""The comparison's arithmetic with a stand-in peer, and the command."""

import re
import sys

import numpy as np
import pytest
import time_rvq

from resgen_jax.core import errors

SIZES = {"num_vectors": 40, "code_dim": 4, "codebook_size": 8, "depth": 2, "num_runs": 3}


def test_a_peer_is_compared_code_by_code(monkeypatch):
    def wrong_in_one_level(latents, codebooks):
        codes = time_rvq.jax_runner(latents, codebooks, 2**20)().copy()
        codes[:10, 1] = (codes[:10, 1] + 1) % 8
        return lambda: codes

    monkeypatch.setattr(time_rvq, "torch_runner", wrong_in_one_level)
    report = time_rvq.compare(**SIZES)
    assert report["share_equal_codes"] == pytest.approx(1 - 10 / 80)
    assert report["ratio"] == pytest.approx(report["torch_seconds"] / report["jax_seconds"])
    assert report["jax_fastest_seconds"] <= report["jax_seconds"]


def test_the_problem_is_the_same_for_the_same_seed():
    first, again, other = (time_rvq.random_problem(seed, 8, 4, 8, 2) for seed in (0, 0, 1))
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (first[0] != other[0]).any()


def test_our_half_chooses_nearest_codes():
    latents, codebooks = time_rvq.random_problem(0, 40, 4, 8, 3)
    codes = time_rvq.jax_runner(latents, codebooks, 64)()  # several chunks of 40 x 8 distances
    residual = latents
    for level, table in enumerate(codebooks):
        distances = ((residual[:, None] - table) ** 2).sum(-1)
        np.testing.assert_array_equal(codes[:, level], distances.argmin(-1))
        residual = residual - table[codes[:, level]]


def test_a_missing_peer_is_told_in_a_line_before_anything_runs(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.setattr(time_rvq, "compare", None)
    assert time_rvq.main([]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert re.fullmatch(r"python \S+/time_rvq\.py: .*needs torch, .*peers.*\n", captured.err)


def test_flags_reach_the_comparison(monkeypatch, capsys):
    given = {}

    def compare(**sizes):
        given.update(sizes)
        return {"ratio": 2.0}

    monkeypatch.setattr(time_rvq, "PACKAGES", ())
    monkeypatch.setattr(time_rvq, "compare", compare)
    assert time_rvq.main(["--num_steps=7"]) == 0
    assert given == {"num_runs": 7}
    assert capsys.readouterr().out.split() == ["ratio:", "2"]


def test_no_runs_are_refused():
    with pytest.raises(errors.UserError, match="num_runs is 0"):
        time_rvq.compare(num_runs=0)
