"""The comparison's arithmetic with a stand-in peer, and its word when the peer is missing."""

import sys

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.scaling import rvq_bench

SIZES = {"num_vectors": 40, "code_dim": 4, "codebook_size": 8, "depth": 2, "num_runs": 3}


def test_a_peer_is_compared_code_by_code(monkeypatch):
    def wrong_in_one_level(latents, codebooks):
        codes = rvq_bench.jax_runner(latents, codebooks, 2**20)().copy()
        codes[:10, 1] = (codes[:10, 1] + 1) % 8
        return lambda: codes

    monkeypatch.setattr(rvq_bench, "torch_runner", wrong_in_one_level)
    report = rvq_bench.compare(**SIZES)
    assert report["share_equal_codes"] == pytest.approx(1 - 10 / 80)
    assert report["ratio"] == pytest.approx(report["torch_seconds"] / report["jax_seconds"])
    assert report["jax_fastest_seconds"] <= report["jax_seconds"]


def test_the_problem_is_the_same_for_the_same_seed():
    first, again, other = (rvq_bench.random_problem(seed, 8, 4, 8, 2) for seed in (0, 0, 1))
    for ours, theirs in zip(first, again, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert (first[0] != other[0]).any()


def test_a_missing_peer_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(errors.UserError, match="needs torch.*peers"):
        rvq_bench.compare(**SIZES)


def test_no_runs_are_refused():
    with pytest.raises(errors.UserError, match="num_runs is 0"):
        rvq_bench.compare(num_runs=0)
