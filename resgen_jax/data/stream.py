"""The rows that one process has of every global batch, and how far all processes have come."""

from collections.abc import Mapping
from typing import Any

import grain
import numpy as np

from resgen_jax.core import errors

ENDLESS = 2**40  # batches; their rows still fit a length
NUM_BATCHES = "num_batches"  # of all processes together: what a state of the data is
NUM_RECORDS = "num_records"


class Batches:
    """Endless batches of one process's `rows` of every global batch; `num_records` in an epoch.

    How far it has come is the number of global batches, which is the same in every process, so that
    any number of processes goes on from it.
    """

    def __init__(
        self, records: Any, num_records: int, batch_size: int, rows: np.ndarray, num_threads: int
    ):
        self._records, self._num_records = records, num_records
        self._batch_size, self._rows = batch_size, rows
        self._num_threads = num_threads
        self._num_batches = 0
        self._under_way: grain.DatasetIterator | None = None

    def __iter__(self) -> "Batches":
        return self

    def __next__(self) -> dict[str, np.ndarray]:
        """This process's rows of the next global batch."""
        if self._under_way is None:
            self._under_way = self._from(self._num_batches)
        batch = next(self._under_way)
        self._num_batches += 1
        return batch

    def _from(self, num_batches: int) -> grain.DatasetIterator:
        here = RowsHere(self._records, self._batch_size, self._rows, num_batches, is_filled=True)
        num_rows = len(self._rows)
        options = read_options(self._num_threads, num_rows)
        return iter(grain.MapDataset.source(here).to_iter_dataset(options).batch(num_rows))

    def get_state(self) -> dict[str, int]:
        """The number of global batches that were taken, and of what."""
        return {NUM_BATCHES: self._num_batches, NUM_RECORDS: self._num_records}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on after so many global batches; UserError for what is no such number.

        Takes what grain counted for earlier versions, too: this process's rows. Raises UserError if
        there were more or fewer records, too: their order would be another one.
        """
        if not _is_state(state):
            raise errors.UserError(
                f"the data cannot go on from {str(state)[:100]}, which no run writes; restore the "
                "checkpoint, or train into another --workdir"
            )
        there = state.get(NUM_RECORDS, self._num_records)
        if there != self._num_records:
            raise errors.UserError(
                f"the run began with {there} records to train on and there are {self._num_records} "
                "now; bring back the data it began with, or train into another --workdir"
            )
        if NUM_BATCHES in state:
            num_batches, rest = state[NUM_BATCHES], 0
        else:
            num_batches, rest = divmod(state.get("next_index", -1), len(self._rows))
        if num_batches < 0 or rest:
            raise errors.UserError(
                f"the data cannot go on from {dict(state)}, which is no whole number of batches of "
                f"{len(self._rows)} rows (an earlier version skipped unreadable files); train into "
                "another --workdir"
            )
        self._under_way, self._num_batches = None, num_batches


def _is_state(state: Any) -> bool:
    """Whether it counts what the states of any version count."""
    if not isinstance(state, Mapping):
        return False
    counts = [state.get(name, 0) for name in (NUM_RECORDS, NUM_BATCHES, "next_index")]
    return all(isinstance(count, int) and abs(count) < ENDLESS for count in counts)


class RowsHere:
    """This process's rows of every global batch from `first_batch` on.

    None where the records have ended. A record that cannot be read is None, too, or if
    `is_filled` the next one that can be: then a row's record depends on no other row.
    """

    def __init__(
        self,
        records: Any,
        batch_size: int,
        rows: np.ndarray,
        first_batch: int = 0,
        is_filled: bool = False,
    ):
        self._records, self._num_records = records, len(records)
        self._batch_size, self._rows = batch_size, rows.tolist()
        self._first_batch, self._is_filled = first_batch, is_filled

    def __len__(self) -> int:
        # The last batch may be short; an endless source has more batches than can be counted.
        return min(-(-self._num_records // self._batch_size), ENDLESS) * len(self._rows)

    def __getitem__(self, position: int) -> Any:
        batch, place = divmod(int(position), len(self._rows))
        index = (self._first_batch + batch) * self._batch_size + self._rows[place]
        if index >= self._num_records:
            return None
        record = self._records[index]
        while record is None and self._is_filled:
            index += 1
            record = self._records[index]
        return record

    def __repr__(self) -> str:
        return f"RowsHere({self._records!r})"


def read_options(num_threads: int, rows: int) -> grain.ReadOptions:
    """How grain reads: two batches ahead; with no threads records are read when asked for."""
    ahead = max(2 * rows, num_threads) if num_threads else 0
    return grain.ReadOptions(num_threads=num_threads, prefetch_buffer_size=ahead)
