"""Slices by name: grids, what the number counts, which sides are rings."""

import pytest

from resgen_jax.core import errors
from resgen_jax.scaling.compile import chips


@pytest.mark.parametrize(
    ("name", "grid"),
    [
        ("v5e-4", (2, 2)),
        ("v5e-16", (4, 4)),
        ("v5e-256", (16, 16)),
        ("v5litepod-256", (16, 16)),
        ("v6e-256", (16, 16)),
        ("v5p-256", (4, 4, 8)),  # two cores a chip
        ("v5p-2048", (8, 8, 16)),
        ("v4-8", (2, 2, 1)),
    ],
)
def test_names_mean_grids(name, grid):
    assert chips.find(name).grid == grid


def test_the_number_counts_chips_or_cores():
    for name, found in chips.SLICES.items():
        family, _, number = name.partition("-")
        assert found.num_chips * (2 if family in ("v4", "v5p") else 1) == int(number)


def test_unknown_names_are_refused_with_those_known():
    with pytest.raises(errors.UserError, match=r"'v5e-250'; did you mean .*known: .*v5p-2048"):
        chips.find("v5e-250")
    with pytest.raises(errors.UserError, match=r"'h100'; .*v6e-256"):
        chips.find("h100")


def test_only_whole_sides_are_rings():
    assert [chips.find("v5e-256").wraps(side) for side in (0, 1)] == [True, True]
    assert [chips.find("v5e-128").wraps(side) for side in (0, 1)] == [False, True]
    assert [chips.find("v5p-64").wraps(side) for side in (0, 1, 2)] == [False, True, True]


def test_links_together_are_the_published_bandwidth():
    published = {"v5e": 400e9, "v6e": 800e9, "v5p": 1200e9, "v4": 600e9}
    for family, chip in chips.CHIPS.items():
        assert 2 * 2 * chip.num_dimensions * chip.link_bandwidth == published[family]
        assert chip.peak_flops > 1e14


def test_without_libtpu_one_line_says_what_to_install(monkeypatch):
    from jax.experimental import topologies

    def missing(**kwargs):
        raise RuntimeError("JAX TPU support not installed; cannot generate TPU topology.")

    monkeypatch.setattr(topologies, "get_topology_desc", missing)
    with pytest.raises(errors.UserError, match="pip install 'resgen_jax"):
        chips.devices(chips.find("v5e-4"))
