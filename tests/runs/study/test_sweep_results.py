"""Lines of a sweep on disk, and which of them are best: against every pair by brute force."""

import json

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.io import paths
from resgen_jax.runs.study import sweep_results


def line(seconds, distance, **point):
    return {
        "point": {"sampler": point, "seed": 0},
        "metrics": {"FD": distance},
        "distance": "FD",
        "seconds_per_image": seconds,
    }


@pytest.fixture
def lines():
    random = np.random.default_rng(0)
    return [line(*random.integers(1, 9, 2).astype(float).tolist(), number=n) for n in range(40)]


def test_the_front_is_what_no_other_point_beats_in_both(lines):
    pairs = [(each["seconds_per_image"], each["metrics"]["FD"]) for each in lines]
    unbeaten = {
        (seconds, distance)
        for seconds, distance in pairs
        if not any(
            other != (seconds, distance) and other[0] <= seconds and other[1] <= distance
            for other in pairs
        )
    }
    front = sweep_results.front(lines)
    assert {(each["seconds_per_image"], each["metrics"]["FD"]) for each in front} == unbeaten
    assert len(front) == len(unbeaten)


def test_the_best_for_a_budget_is_the_nearest_that_it_pays_for(lines):
    best = sweep_results.best_within(lines, 4.0)
    affordable = [each["metrics"]["FD"] for each in lines if each["seconds_per_image"] <= 4.0]
    assert best["metrics"]["FD"] == min(affordable)
    with pytest.raises(errors.UserError, match="--budget is 0.1 .* fastest setting takes 1"):
        sweep_results.best_within(lines, 0.1)


def test_a_distance_that_is_none_comes_last_and_is_never_best():
    lines = [line(1.0, None, a=1), line(2.0, 5.0, a=2)]
    assert sweep_results.by_distance(lines) == lines[::-1]
    assert sweep_results.front(lines) == lines[1:]


def test_lines_are_read_as_they_were_written_and_known_again(tmp_path):
    folder = paths.of(tmp_path)
    assert sweep_results.read(folder) == []
    first = line(1.0, float("nan"), scale=(1.0, 2.0))
    sweep_results.append(folder, first)
    sweep_results.append(folder, line(2.0, 3.0, scale=2.0))
    found = sweep_results.read(folder)
    assert [each["metrics"]["FD"] for each in found] == [None, 3.0]
    assert sweep_results.is_done(found, first["point"])
    for other in ({"sampler": {"scale": (1.0, 3.0)}, "seed": 0}, first["point"] | {"seed": 1}):
        assert not sweep_results.is_done(found, other)


@pytest.mark.parametrize("text", ["", "[]", '{"point": 1}', json.dumps(line(1.0, 2.0))[:-9]])
def test_what_is_no_line_of_a_sweep_is_named(tmp_path, text):
    good = json.dumps(line(1.0, 2.0))
    (tmp_path / sweep_results.FILE).write_text(f"{good}\n{text}\n")
    with pytest.raises(errors.UserError, match=r"sweep.jsonl, line 2: no point of a sweep"):
        sweep_results.read(paths.of(tmp_path))
