"""The least time that a step can take on a slice: arithmetic, memory and links at their peaks."""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from resgen_jax.scaling.compile import chips
from resgen_jax.scaling.compile.collectives import Collective

Place = tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Prediction:
    """Seconds of one step if one thing alone took time; the step takes the longest of them.

    A prediction from published peak rates, and no measurement: everything overlaps, and nothing
    waits. What a chip really does is slower.
    """

    compute_seconds: float
    hbm_seconds: float
    link_seconds: float

    @property
    def step_seconds(self) -> float:
        """The longest of the three."""
        return max(self.compute_seconds, self.hbm_seconds, self.link_seconds)

    @property
    def bound(self) -> str:
        """What limits the step: compute, hbm or links."""
        named = {
            "compute": self.compute_seconds,
            "hbm": self.hbm_seconds,
            "links": self.link_seconds,
        }
        return max(named, key=named.__getitem__)

    def mfu(self, model_flops_per_chip: float, chip: chips.Chip) -> float:
        """Share of the chip's peak that the model's own arithmetic takes, without recomputation."""
        return model_flops_per_chip / (self.step_seconds * chip.peak_flops)


def predict(
    found: chips.Slice,
    flops_per_chip: float,
    hbm_bytes: float,
    collectives: Iterable[Collective],
    places: Sequence[Place],
) -> Prediction:
    """Of a program that each chip runs; `places` are the coordinates of the mesh's chips in order.

    Collectives take the links in turn, permutations in opposite directions both at once.
    """
    return Prediction(
        compute_seconds=flops_per_chip / found.chip.peak_flops,
        hbm_seconds=hbm_bytes / found.chip.hbm_bandwidth,
        link_seconds=link_seconds(found, collectives, places),
    )


def link_seconds(
    found: chips.Slice, collectives: Iterable[Collective], places: Sequence[Place]
) -> float:
    """How long some collectives take the links: a link carries both directions at full rate."""
    total, one_way = 0.0, dict[Place, float]()
    for each in collectives:
        taken = seconds(found, each, places)
        if each.kind == "collective-permute" and taken:
            way = _direction(found, *(places[index] for index in each.group[:2]))
            one_way[way] = one_way.get(way, 0.0) + taken
        else:
            total += taken
    ways = {max(way, _turned(way)) for way in one_way}
    return total + sum(max(one_way.get(way, 0.0), one_way.get(_turned(way), 0.0)) for way in ways)


def sent_bytes(each: Collective) -> float:
    """What one chip sends in a ring, all times together."""
    size = len(each.group)
    if size < 2:
        return 0.0
    share = {"all-reduce": 2 * (size - 1) / size, "collective-permute": 1.0}
    return float(each.times) * each.num_bytes * share.get(each.kind, (size - 1) / size)


def seconds(found: chips.Slice, each: Collective, places: Sequence[Place]) -> float:
    """How long a collective takes the links of a torus, all times together.

    A ring uses both directions of each dimension that the group spans, a line without the last link
    one of them. In an exchange of all with all a piece passes a quarter of the ring's links (half
    of a line's) on its way, a permutation takes one link.
    """
    spans = _spans(found, [places[index] for index in each.group])
    if not spans:
        return 0.0
    lanes = sum(2 if is_ring else 1 for _, is_ring in spans)
    if each.kind == "collective-permute":
        lanes = 1
    sent = sent_bytes(each)
    if each.kind == "all-to-all":
        sent *= max(1.0, max(size / (4 if is_ring else 2) for size, is_ring in spans))
    return sent / (lanes * found.chip.link_bandwidth)


def _spans(found: chips.Slice, group: Sequence[Place]) -> list[tuple[int, bool]]:
    """For each dimension of the torus along which a group lies: how many places, and if a ring."""
    spans = []
    for dimension, size in enumerate(found.grid):
        taken = len({place[dimension] for place in group})
        if taken > 1:
            spans.append((taken, taken == size and found.wraps(dimension)))
    return spans


def _direction(found: chips.Slice, start: Place, end: Place) -> Place:
    """-1, 0 or 1 along each dimension, the shorter way round a ring."""
    way = []
    for dimension, size in enumerate(found.grid):
        moved = end[dimension] - start[dimension]
        if found.wraps(dimension) and 2 * abs(moved) > size:
            moved = -moved
        way.append((moved > 0) - (moved < 0))
    return tuple(way)


def _turned(way: Place) -> Place:
    return tuple(-part for part in way)


def coordinates(found: chips.Slice, devices: Iterable[Any]) -> list[Place]:
    """Where the devices of a mesh lie in the slice, in the mesh's order."""
    return [tuple(device.coords[: len(found.grid)]) for device in devices]
