"""Pipeline: one order for any threads and processes, exact resume, and unreadable images."""

import itertools

import numpy as np
import pytest

from resgen_jax.core import errors
from resgen_jax.data import images, pipeline, views


class Numbers:
    """Records 0..num-1, some of them unreadable."""

    def __init__(self, num, unreadable=()):
        self.num, self.unreadable = num, set(unreadable)

    def __len__(self):
        return self.num

    def __getitem__(self, index):
        if index in self.unreadable:
            raise images.UnreadableImage(f"{index}.jpg cannot be read")
        return {"images": np.full((2, 2, 1), index, np.uint8), "index": np.int32(index)}

    def __repr__(self):
        return "Numbers"


def indices(batches):
    return [batch["index"].tolist() for batch in batches]


def take(num_batches, source=None, **options):
    iterator = pipeline.train_iterator(
        Numbers(10) if source is None else source, **{"batch_size": 4, "seed": 0} | options
    )
    return indices(itertools.islice(iterator, num_batches))


def test_each_epoch_holds_every_record_once_in_an_order_of_its_own():
    stream = list(itertools.chain(*take(15)))
    epochs = [stream[i : i + 10] for i in range(0, 60, 10)]
    assert all(sorted(one) == list(range(10)) for one in epochs)
    assert len({tuple(one) for one in epochs}) == 6
    assert take(3, seed=1) != take(3, seed=0)


def test_number_of_threads_does_not_change_the_order():
    source = Numbers(23, unreadable={3, 4, 11})
    options = {"source": source, "max_unreadable": 3}
    assert take(12, num_threads=0, **options) == take(12, num_threads=5, **options)


@pytest.mark.parametrize("num_before", [0, 1, 4, 7])
def test_state_restored_in_a_new_iterator_goes_on_exactly(num_before):
    def make(num_threads):
        return pipeline.train_iterator(
            Numbers(10, {2, 7}), batch_size=3, seed=5, num_threads=num_threads, max_unreadable=2
        )

    iterator = make(2)
    indices(itertools.islice(iterator, num_before))
    state = iterator.get_state()
    expected = indices(itertools.islice(iterator, 6))
    resumed = make(0)
    resumed.set_state(state)
    assert indices(itertools.islice(resumed, 6)) == expected


def test_rows_of_all_processes_are_the_batch_of_one():
    whole = take(10, batch_size=6)
    parts = [take(10, batch_size=6, process_index=index, process_count=3) for index in range(3)]
    for step in range(10):
        assert list(itertools.chain(*(part[step] for part in parts))) == whole[step]


class Seen(Numbers):
    """Records that tell the view they were asked for."""

    def view(self, index, view):
        element = self[index]
        return element | {"view": np.array([view.is_flipped, view.kept, *view.place])}


def augmented(num_batches, state=None, **options):
    iterator = pipeline.train_iterator(
        Seen(10, {2}),
        augmentation=views.Augmentation(True, (0.5, 1.0)),
        **{"batch_size": 6, "seed": 0, "max_unreadable": 1} | options,
    )
    if state is not None:
        iterator.set_state(state)
    found = [
        {name: batch[name].tolist() for name in ("index", "view")}
        for batch in itertools.islice(iterator, num_batches)
    ]
    return found, iterator.get_state()


def in_order(count):
    """The numbers of the first records, with all of them readable."""
    return list(itertools.chain(*take(count, batch_size=1)))


@pytest.mark.parametrize("counts", [(1, 2, 4, 1), (4, 2), (3, 6, 1)])
def test_any_number_of_processes_goes_on_with_the_same_batches(counts):
    """Record numbers of every global batch, through several changes of the number of processes."""
    source = Numbers(36, unreadable={7, 20})
    options = {"source": source, "batch_size": 12, "max_unreadable": 2}
    whole = take(3 * len(counts), **options)
    seen, state = [], None
    for count in counts:
        parts = []
        for index in range(count):
            iterator = pipeline.train_iterator(
                seed=0, process_index=index, process_count=count, num_threads=index, **options
            )
            if state is not None:
                iterator.set_state(state)
            parts.append((indices(itertools.islice(iterator, 3)), iterator.get_state()))
        states = [after for _, after in parts]
        assert states == states[:1] * count
        state = states[0]
        steps = zip(*(batches for batches, _ in parts), strict=True)
        seen += [list(itertools.chain(*step)) for step in steps]
    assert seen == whole
    readable = set(range(36)) - source.unreadable
    for epoch in range(len(counts)):  # three batches each: none is lost
        rows = list(itertools.chain(*seen[3 * epoch : 3 * epoch + 3]))
        assert set(rows) == readable


def test_other_data_than_before_are_refused():
    state = pipeline.train_iterator(Numbers(10), batch_size=4, seed=0).get_state()
    fewer = pipeline.train_iterator(Numbers(9), batch_size=4, seed=0)
    with pytest.raises(errors.UserError, match="began with 10 records .* there are 9 now"):
        fewer.set_state(state)


def test_what_grain_counted_before_is_read_or_refused():
    iterator = pipeline.train_iterator(Numbers(10), batch_size=4, seed=0)
    iterator.set_state({"next_index": 12})
    assert indices(itertools.islice(iterator, 2)) == take(5)[3:]
    for state in ({"next_index": 13}, {"another": 1}):
        with pytest.raises(errors.UserError, match="no whole number of batches of 4 rows"):
            iterator.set_state(state)


def test_views_depend_on_seed_epoch_and_record_alone():
    whole, _ = augmented(6)
    assert [batch["index"] for batch in whole] == take(
        6, source=Numbers(10, {2}), batch_size=6, max_unreadable=1
    )
    parts = [augmented(6, process_index=index, process_count=2)[0] for index in range(2)]
    pairs = [
        list(itertools.chain(*(zip(part["index"], part["view"], strict=True) for part in step)))
        for step in zip(*parts, strict=True)
    ]
    expected = [list(zip(step["index"], step["view"], strict=True)) for step in whole]
    assert pairs == expected
    # A record that cannot be read (one in each of 3 epochs and a part) gives its row to the next.
    views_seen = {tuple(view) for step in expected for _, view in step}
    assert len(views_seen) == 36 - sum(i == 2 for i in in_order(36))
    first, state = augmented(4, num_threads=3)
    assert first + augmented(2, state)[0] == whole
    assert augmented(1, seed=1)[0] != whole[:1]


def test_no_augmentation_asks_for_no_views():
    plain = pipeline.train_iterator(
        Numbers(10), batch_size=4, seed=0, augmentation=views.Augmentation()
    )
    assert indices(itertools.islice(plain, 5)) == take(5)


def test_read_ahead_keeps_the_order_and_stops_with_its_reader():
    begun = []

    def read(number):
        begun.append(number)
        if number == 50:
            raise ValueError("fifty")
        return number * number

    stream = pipeline.read_ahead(read, range(1000), num_threads=4, ahead=7)
    assert [next(stream) for _ in range(20)] == [number**2 for number in range(20)]
    stream.close()
    assert len(begun) <= 20 + 7 + 1
    with pytest.raises(ValueError, match="fifty"):
        list(pipeline.read_ahead(read, range(100), num_threads=4, ahead=7))


def test_batch_larger_than_the_source_repeats_records():
    (batch,) = take(1, source=Numbers(3), batch_size=7)
    assert sorted(batch[:3]) == sorted(batch[3:6]) == [0, 1, 2]


def test_unreadable_images_are_skipped_and_named_once_up_to_the_limit():
    told = []
    source = Numbers(8, unreadable={1, 6})
    batches = take(
        20, source, max_unreadable=2, num_threads=3, on_unreadable=lambda e: told.append(str(e))
    )
    assert set(itertools.chain(*batches)) == {0, 2, 3, 4, 5, 7}
    assert sorted(told) == ["1.jpg cannot be read", "6.jpg cannot be read"]
    with pytest.raises(errors.UserError, match=r"[16].jpg cannot be read.*max_unreadable is 1"):
        take(20, source, max_unreadable=1)


@pytest.mark.parametrize("num_threads", [0, 3])
def test_epoch_is_every_record_once_in_order_and_padding_is_told(num_threads):
    batches = list(pipeline.epoch(Numbers(10), batch_size=4, num_threads=num_threads))
    assert [batch["images"].shape for batch in batches] == [(4, 2, 2, 1)] * 3
    assert [i for batch in batches for i in batch["index"][batch["is_valid"]]] == list(range(10))
    assert batches[-1]["is_valid"].tolist() == [True, True, False, False]


def test_epoch_over_processes_is_the_epoch_of_one():
    whole = list(pipeline.epoch(Numbers(9), batch_size=6))
    parts = [
        list(pipeline.epoch(Numbers(9), batch_size=6, process_index=i, process_count=3))
        for i in range(3)
    ]
    for step, batch in enumerate(whole):
        is_valid = np.concatenate([part[step]["is_valid"] for part in parts])
        index = np.concatenate([part[step]["index"] for part in parts])
        np.testing.assert_array_equal(is_valid, batch["is_valid"])
        np.testing.assert_array_equal(index[is_valid], batch["index"][batch["is_valid"]])


def test_epoch_refuses_an_unreadable_image_unless_it_is_allowed():
    with pytest.raises(errors.UserError, match="5.jpg cannot be read"):
        list(pipeline.epoch(Numbers(8, {5}), batch_size=4))
    told = []
    batches = list(
        pipeline.epoch(
            Numbers(8, {0, 5}), batch_size=4, max_unreadable=2, on_unreadable=told.append
        )
    )
    valid = np.concatenate([batch["is_valid"] for batch in batches])
    assert np.flatnonzero(~valid).tolist() == [0, 5]
    assert len(told) == 2
    with pytest.raises(errors.UserError, match="not one image"):
        list(pipeline.epoch(Numbers(2, {0, 1}), batch_size=2, max_unreadable=2))


def test_batch_that_does_not_divide_over_the_processes_names_one_that_does():
    with pytest.raises(
        errors.UserError, match="batch_size 10 does not divide over 4 .*use 8 or 12"
    ):
        take(1, batch_size=10, process_count=4)
    with pytest.raises(errors.UserError, match="nothing to train on"):
        take(1, source=Numbers(0))
