"""Some of many records, evenly spread over whatever order they lie in."""

import concurrent.futures
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from jaxtyping import Int

from resgen_jax.data import images

GOLDEN = (5**0.5 - 1) / 2
NUM_THREADS = 16


def places(num_records: int, count: int) -> Int[np.ndarray, "n"]:
    """`count` numbers below `num_records` in order, or all of them: one out of each equal stretch.

    Records of a class that lie together get their share of the count, give or take 2. Where in its
    stretch a number lies differs from stretch to stretch, so that an order which comes round again
    (class 0, 1, ..., 9, 0, 1, ...) does not always meet the same class.
    """
    count = min(count, num_records)
    ends = np.arange(count + 1, dtype=np.int64) * num_records // max(count, 1)
    share = (0.5 + np.arange(count) * GOLDEN) % 1
    return ends[:-1] + (share * np.diff(ends)).astype(np.int64)


class Spread:
    """At most `count` records of a source, evenly spread over it, with their own numbers."""

    def __init__(self, source: Any, count: int):
        self._source = source
        self.chosen: tuple[int, ...] = tuple(places(len(source), count).tolist())

    def __len__(self) -> int:
        return len(self.chosen)

    def __getitem__(self, index: int) -> Mapping[str, Any]:
        return self._source[self.chosen[int(index)]]

    def __iter__(self) -> Iterator[Mapping[str, Any]]:
        return (self[index] for index in range(len(self)))

    def num_classes(self) -> int:
        """How many classes the chosen records are of; unreadable ones are of none."""
        with concurrent.futures.ThreadPoolExecutor(NUM_THREADS) as pool:
            found = pool.map(self._label, self.chosen)
        return len(set(found) - {None})

    def describe(self, num_classes: int) -> str:
        """`256 of 10,000, all 10 classes`."""
        found, total = self.num_classes(), len(self._source)
        of_classes = f"all {found}" if found == num_classes else f"{found} of {num_classes}"
        return f"{len(self):,} of {total:,}, {of_classes} classes"

    def _label(self, number: int) -> int | None:
        try:
            return self._source.label(number)
        except images.UnreadableImage:
            return None

    def __repr__(self) -> str:
        return f"Spread({len(self)} of {self._source!r})"
