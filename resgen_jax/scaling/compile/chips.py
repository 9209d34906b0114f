"""TPU slices by the names their users know: grid, memory, rates and links of a chip."""

import dataclasses
import math
import os
import re
from collections.abc import Sequence
from typing import Any

from resgen_jax.core import build, errors
from resgen_jax.training.telemetry import flops

GIB = 2**30


@dataclasses.dataclass(frozen=True)
class Chip:
    """One generation of TPU chips.

    Sources: docs.cloud.google.com/tpu/docs/{v4,v5e,v5p,v6e} for the rates. A link's bandwidth is
    the published one of all links of a chip and both directions, shared out. `hbm_bytes` is what
    the compiler of libtpu 0.0.42 lets one program use, a little less than what is sold.
    """

    kind: str  # as JAX names the device; `training.flops` holds its peak FLOP/s
    hbm_bytes: float
    hbm_bandwidth: float  # bytes/s
    link_bandwidth: float  # bytes/s of one link in one direction
    num_dimensions: int  # of the torus; two links each
    cores_per_chip: int = 1  # where slices are named after their cores
    options: tuple[tuple[str, Any], ...] = ()  # of libtpu's

    @property
    def peak_flops(self) -> float:
        """bfloat16 FLOP/s of a chip."""
        return flops.PEAK_FLOPS[self.kind]


CHIPS = {
    # 4 links of 2 x 50 GB/s, 819 GB/s
    "v5e": Chip("TPU v5 lite", 15.75 * GIB, 819e9, 400e9 / 8, num_dimensions=2),
    # 4 links of 2 x 100 GB/s, 1,600 GB/s
    "v6e": Chip("TPU v6 lite", 31.25 * GIB, 1600e9, 800e9 / 8, num_dimensions=2),
    # 6 links of 2 x 100 GB/s, 2,765 GB/s
    "v5p": Chip("TPU v5", 95.74 * GIB, 2765e9, 1200e9 / 12, num_dimensions=3, cores_per_chip=2),
    # 6 links of 2 x 50 GB/s, 1,200 GB/s; its two cores act as one device
    "v4": Chip(
        "TPU v4",
        30.75 * GIB,
        1200e9,
        600e9 / 12,
        num_dimensions=3,
        cores_per_chip=2,
        options=(("chip_config_name", "megacore"),),
    ),
}
# By number of chips.
GRIDS = {
    2: ((1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)),
    3: (
        *((2, 2, 1), (2, 2, 2), (2, 2, 4), (2, 4, 4), (4, 4, 4), (4, 4, 8), (4, 8, 8)),
        *((8, 8, 8), (8, 8, 16), (8, 16, 16)),
    ),
}
# What Cloud TPU calls a type, where that differs from what everybody says.
ALIASES = {"v5litepod": "v5e"}


@dataclasses.dataclass(frozen=True)
class Slice:
    """Chips on a grid, with the links of a torus."""

    name: str
    chip: Chip
    grid: tuple[int, ...]

    @property
    def num_chips(self) -> int:
        """Chips, whatever the name counts."""
        return math.prod(self.grid)

    def wraps(self, dimension: int) -> bool:
        """Whether the last chip along a dimension has a link to the first.

        In two dimensions only a whole side of 16 does; in three, cubes of 4 are joined by switches.
        """
        size = self.grid[dimension]
        return size == 16 if self.chip.num_dimensions == 2 else size % 4 == 0


def _known() -> dict[str, Slice]:
    slices = {}
    for family, chip in CHIPS.items():
        for grid in GRIDS[chip.num_dimensions]:
            found = Slice("", chip, grid)
            name = f"{family}-{found.num_chips * chip.cores_per_chip}"
            slices[name] = dataclasses.replace(found, name=name)
    return slices


SLICES = _known()


def find(name: str) -> Slice:
    """The slice of a name like v5e-256; v4 and v5p are named after their cores, two a chip.

    Raises UserError, with the known names, for any other.
    """
    family, dash, size = name.partition("-")
    found = SLICES.get(ALIASES.get(family, family) + dash + size)
    if found is None:
        hint = build.nearest(name, SLICES)
        listed = "" if hint.startswith("known") else f" (known: {', '.join(SLICES)})"
        raise errors.UserError(f"unknown topology {name!r}; {hint}{listed}")
    return found


def devices(found: Slice) -> Sequence[Any]:
    """The chips of a slice that need not be there: to compile for, not to run on.

    Raises UserError if libtpu is not installed.
    """
    # None of these is needed; they keep libtpu from asking a metadata server, and make several
    # processes at once possible.
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")
    os.environ.setdefault("ALLOW_MULTIPLE_LIBTPU_LOAD", "1")
    os.environ.setdefault("TPU_ACCELERATOR_TYPE", "v5litepod-4")
    os.environ.setdefault("TPU_WORKER_HOSTNAMES", "localhost")
    os.environ.setdefault("TPU_WORKER_ID", "0")
    from jax.experimental import topologies  # after the settings above

    options = dict(found.chip.options)
    if found.num_chips == 1:
        options["chips_per_host_bounds"] = (1, 1, 1)
    family = re.sub("-.*", "", found.name)
    grid = f"{family}:{'x'.join(map(str, found.grid))}"
    try:
        return topologies.get_topology_desc(platform="tpu", topology_name=grid, **options).devices
    except RuntimeError as failure:
        if "TPU support not installed" not in str(failure):
            raise
        raise errors.UserError(
            "compiling for a TPU needs libtpu, which is not installed: "
            "pip install 'resgen_jax[tpu]' (no TPU is needed)"
        ) from None
