"""Batches of NumPy arrays from a source: endless and shuffled to train on, in order to measure."""

import collections
import concurrent.futures
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import TypeVar

import grain
import numpy as np

from resgen_jax.core import errors
from resgen_jax.data import images, stream, views
from resgen_jax.data.sources import Element, Source

S = TypeVar("S")
T = TypeVar("T")
Batch = dict[str, np.ndarray]


def train_iterator(
    source: Source,
    *,
    batch_size: int,
    seed: int,
    num_threads: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    rows: np.ndarray | None = None,
    max_unreadable: int = 0,
    on_unreadable: Callable[[errors.UserError], None] | None = None,
    augmentation: views.Augmentation | None = None,
) -> stream.Batches:
    """Endless batches, reshuffled every epoch; this process's rows of the global `batch_size`.

    These are `rows` of each batch, or else one of `process_count` equal shares. The order depends
    on `seed` alone: not on the threads, and not on the number of processes, whose rows together
    are the batch of one process. Batches run across the end of an epoch, so none is short.
    `get_state` and `set_state` go on exactly, in any number of processes. Up to `max_unreadable`
    files are skipped, each reported once to `on_unreadable`; one more raises UserError. Such a row
    holds the record after it in the order, in its place. The views of `augmentation` are drawn from
    `seed`, the epoch and the record's number.
    """
    rows = _rows_here(batch_size, process_index, process_count) if rows is None else rows
    if len(source) == 0:
        raise errors.UserError("there is nothing to train on: the source holds no records")
    records = _SkipUnreadable(source, max_unreadable, on_unreadable)
    endless = grain.MapDataset.source(records).seed(seed).shuffle().repeat()
    if augmentation is not None and augmentation.is_on:
        # The same order of numbers; records are read where the epoch is known.
        numbers = grain.MapDataset.source(_Numbers(len(source))).seed(seed).shuffle().repeat()
        endless = _Augmented(records, numbers, augmentation, seed)
    return stream.Batches(endless, len(source), batch_size, rows, num_threads)


def epoch(
    source: Source,
    *,
    batch_size: int,
    num_threads: int = 0,
    process_index: int = 0,
    process_count: int = 1,
    rows: np.ndarray | None = None,
    max_unreadable: int = 0,
    on_unreadable: Callable[[errors.UserError], None] | None = None,
) -> Iterator[Batch]:
    """Every record once, in order, with `is_valid: bool "b"`, False where a row is padding.

    Each process gets `rows` of every global batch, or else an equal share, so all see the same
    number of batches. An unreadable file is an error unless `max_unreadable` allows it: then its
    row is padding too.
    """
    rows = _rows_here(batch_size, process_index, process_count) if rows is None else rows
    records = _SkipUnreadable(source, max_unreadable, on_unreadable)
    num_batches = -(-len(source) // batch_size)
    padded = stream.RowsHere(records, batch_size, rows)
    elements_here = iter(
        grain.MapDataset.source(padded).to_iter_dataset(
            stream.read_options(num_threads, len(rows)), allow_nones=True
        )
    )
    template = None
    for _ in range(num_batches):
        elements = [next(elements_here) for _ in rows]
        if template is None:
            template = next((element for element in elements if element is not None), None)
        if template is None:
            template = _first_readable(records)
        yield _stack(elements, template)


def read_ahead(
    read: Callable[[S], T], items: Iterable[S], *, num_threads: int, ahead: int
) -> Generator[T, None, None]:
    """`read` of every item, in order, up to `ahead` of them begun before they are asked for."""
    pool = concurrent.futures.ThreadPoolExecutor(num_threads, "read-ahead")
    pending: collections.deque[concurrent.futures.Future] = collections.deque()
    try:
        for item in items:
            pending.append(pool.submit(read, item))
            if len(pending) > ahead:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _stack(elements: list[Element | None], template: Element) -> Batch:
    is_valid = np.array([element is not None for element in elements])
    filled = [template if element is None else element for element in elements]
    batch = {name: np.stack([element[name] for element in filled]) for name in template}
    return batch | {"is_valid": is_valid}


def _first_readable(records: "_SkipUnreadable") -> Element:
    for index in range(len(records)):
        element = records[index]
        if element is not None:
            return element
    raise errors.UserError("not one image could be read; look at the files named before")


def _rows_here(batch_size: int, process_index: int, process_count: int) -> np.ndarray:
    rows, left_over = divmod(batch_size, process_count)
    if batch_size < 1 or left_over:
        below = max(rows, 1) * process_count
        raise errors.UserError(
            f"data.batch_size {batch_size} does not divide over {process_count} processes; "
            f"use {below} or {below + process_count}"
        )
    return np.arange(process_index * rows, (process_index + 1) * rows)


class _SkipUnreadable:
    """A source that gives None for an unreadable image, as long as there are few."""

    def __init__(self, source, max_unreadable, on_unreadable):
        self._source, self._max_unreadable = source, max_unreadable
        self._on_unreadable = on_unreadable or (lambda failure: None)
        self._unreadable = set()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, index: int) -> Element | None:
        return self._readable(index, lambda: self._source[index])

    def view(self, index: int, view: views.View) -> Element | None:
        """The record seen so."""
        return self._readable(index, lambda: self._source.view(index, view))

    def _readable(self, index: int, read: Callable[[], Element]) -> Element | None:
        try:
            return read()
        except images.UnreadableImage as failure:
            with self._lock:
                is_new = index not in self._unreadable
                self._unreadable.add(index)
                num_unreadable = len(self._unreadable)
            if num_unreadable > self._max_unreadable:
                raise errors.UserError(
                    f"{failure} (unreadable image {num_unreadable}; data.max_unreadable is "
                    f"{self._max_unreadable})"
                ) from failure
            if is_new:
                self._on_unreadable(failure)
            return None

    def __repr__(self) -> str:
        return f"SkipUnreadable({self._source!r})"


class _Numbers:
    """The numbers of the records, in place of the records."""

    def __init__(self, count: int):
        self._count = count

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int) -> int:
        return int(index)

    def __repr__(self) -> str:
        return f"Numbers({self._count})"


class _Augmented:
    """Endless records, each seen in another way in each epoch."""

    def __init__(self, records, numbers, augmentation: views.Augmentation, seed: int):
        self._records, self._numbers = records, numbers
        self._augmentation, self._seed = augmentation, seed

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, position: int) -> Element | None:
        number, epoch = self._numbers[position], position // len(self._records)
        rng = views.generator(self._seed, epoch, number)
        return self._records.view(number, self._augmentation.draw(rng))

    def __repr__(self) -> str:
        return f"Augmented({self._records!r})"
