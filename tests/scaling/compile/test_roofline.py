"""Least times, by hand."""

import itertools

import pytest

from resgen_jax.scaling.compile import chips, roofline
from resgen_jax.scaling.compile.collectives import Collective

POD, PART = chips.find("v5e-256"), chips.find("v5e-16")
PLACES = list(itertools.product(range(16), range(16)))
FEW_PLACES = list(itertools.product(range(4), range(4)))
ROW, ALL = tuple(range(16)), tuple(range(256))
GB = 10**9


def test_an_all_reduce_sends_nearly_everything_twice():
    assert roofline.sent_bytes(Collective("all-reduce", 16 * GB, ROW)) == 2 * 15 * GB
    assert roofline.sent_bytes(Collective("all-gather", 16 * GB, ROW, 3)) == 3 * 15 * GB
    assert roofline.sent_bytes(Collective("reduce-scatter", 16 * GB, ROW)) == 15 * GB
    assert roofline.sent_bytes(Collective("all-reduce", 16 * GB, (0,))) == 0


def test_a_ring_uses_both_directions_of_each_dimension():
    # 50 GB/s a link and direction.
    along_one = roofline.seconds(POD, Collective("all-gather", 16 * GB, ROW), PLACES)
    assert along_one == pytest.approx(15 / (2 * 50))
    along_both = roofline.seconds(POD, Collective("all-gather", 256 * GB, ALL), PLACES)
    assert along_both == pytest.approx(255 / (4 * 50))


def test_a_line_is_half_as_fast_as_a_ring():
    found = roofline.seconds(PART, Collective("all-gather", 4 * GB, (0, 1, 2, 3)), FEW_PLACES)
    assert found == pytest.approx(3 / 50)
    # Half a side of a ring is a line too.
    found = roofline.seconds(POD, Collective("all-gather", 8 * GB, tuple(range(8))), PLACES)
    assert found == pytest.approx(7 / 50)


def test_exchanges_pass_a_quarter_of_a_ring_and_permutations_one_link():
    exchange = Collective("all-to-all", 16 * GB, ROW)
    assert roofline.seconds(POD, exchange, PLACES) == pytest.approx(15 * 4 / (2 * 50))
    shift = Collective("collective-permute", 16 * GB, (0, 1))
    assert roofline.seconds(POD, shift, PLACES) == pytest.approx(16 / 50)


def test_opposite_permutations_share_a_link_and_others_take_turns():
    shifts = {
        name: Collective("collective-permute", size * GB, pair)
        for name, size, pair in (("right", 16, (0, 1)), ("left", 10, (0, 15)), ("up", 5, (0, 16)))
    }

    def together(*names):
        return roofline.link_seconds(POD, [shifts[name] for name in names], PLACES)

    assert together("right", "left") == pytest.approx(16 / 50)  # 0 to 15 is the last link of a ring
    assert together("right", "right") == pytest.approx(32 / 50)
    assert together("right", "left", "up") == pytest.approx(21 / 50)


def test_a_step_takes_as_long_as_its_slowest_part():
    whole = Collective("all-gather", 256 * GB, ALL)
    found = roofline.predict(POD, 197e12 * 2, 819e9 * 0.5, [whole], PLACES)
    assert found.compute_seconds == pytest.approx(2)
    assert found.hbm_seconds == pytest.approx(0.5)
    assert found.link_seconds == pytest.approx(1.275)
    assert (found.step_seconds, found.bound) == (found.compute_seconds, "compute")
    # Half of the arithmetic done is the model's own.
    assert found.mfu(197e12, POD.chip) == pytest.approx(0.5)


def test_the_slowest_part_may_be_memory():
    found = roofline.predict(POD, 197e12, 819e9 * 4, [], PLACES)
    assert (found.step_seconds, found.bound) == (pytest.approx(4), "hbm")
    assert found.mfu(197e12, POD.chip) == pytest.approx(0.25)
