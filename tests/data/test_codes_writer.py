"""The writer of codes: what a kill leaves is gone on with, and never mixed with other codes."""

import dataclasses
import shutil

import pytest
from tiny_codes import CODEBOOKS, META, records

from resgen_jax.core import errors
from resgen_jax.data import codes, codes_writer


def plan(**fields):
    fields = {"num_images": (10, 3), "records_per_shard": 4, "identity": ("step 7",)} | fields
    return codes_writer.Plan(META, **fields)


def write(unfinished, chosen):
    """The shards `chosen`, by number."""
    rows = {"train": records(10), "held_out": records(3, 7)}
    for number in chosen:
        shard = unfinished.plan.shards[number]
        found, labels = rows[shard.part]
        where = slice(shard.start, shard.stop)
        unfinished.write(shard, [(found[where], labels[where])], [])


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


@pytest.fixture
def told():
    return []


def test_plan_covers_every_image_once_and_keeps_views_together():
    assert [(s.part, s.start, s.stop) for s in plan().shards] == [
        ("train", 0, 4),
        ("train", 4, 8),
        ("train", 8, 10),
        ("held_out", 0, 3),
    ]
    assert [(s.start, s.stop) for s in plan(num_views=3).shards if s.part == "held_out"] == [(0, 3)]
    assert [s.start for s in plan(num_views=3).shards if s.part == "train"] == list(range(10))
    assert [s.stop for s in plan(records_per_shard=2, num_views=8).shards[:2]] == [1, 2]


def test_what_was_written_before_is_kept_and_the_end_is_the_same(tmp_path, told):
    whole = codes_writer.Unfinished(tmp_path / "whole", plan())
    with whole.begun(told.append):
        write(whole, range(4))
        whole.finish(CODEBOOKS)
    assert not told
    first = codes_writer.Unfinished(tmp_path / "codes", plan())
    with first.begun(told.append):
        write(first, [0, 3])
        # As a kill leaves it: a shard that is not whole, and one that the journal does not know.
        (first.folder / ".codes_train-00001-of-00003.array_record.123").write_bytes(b"half")
        (first.folder / first.plan.shards[2].name).write_bytes(b"whole, but not in the journal")
    assert not (tmp_path / "codes").exists()
    before = (first.folder / first.plan.shards[0].name).stat().st_mtime_ns
    again = codes_writer.Unfinished(tmp_path / "codes", plan())
    with again.begun(told.append):
        assert [again.finished(s) is not None for s in again.plan.shards] == [1, 0, 0, 1]
        assert (again.folder / again.plan.shards[0].name).stat().st_mtime_ns == before
        assert not again.is_whole()
        write(again, [1, 2])
        again.finish(CODEBOOKS)
    assert told == ["2 of 4 shards were written before"]
    assert files(tmp_path / "codes") == files(tmp_path / "whole")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["codes", "whole"]
    assert codes.read(tmp_path / "codes").train.labels.tolist() == records(10)[1].tolist()


@pytest.mark.parametrize(
    "other",
    [{"identity": ("step 8",)}, {"records_per_shard": 5}, {"num_images": (9, 3)}],
    ids=["tokenizer", "shards", "images"],
)
def test_leftovers_of_another_plan_are_begun_anew_with_a_word(tmp_path, told, other):
    first = codes_writer.Unfinished(tmp_path / "codes", plan())
    with first.begun(told.append):
        write(first, [0, 1])
    again = codes_writer.Unfinished(tmp_path / "codes", plan(**other))
    with again.begun(told.append):
        assert not any(again.finished(shard) for shard in again.plan.shards)
        assert sorted(path.name for path in again.folder.rglob("*")) == ["journal", "plan.json"]
    assert len(told) == 1
    assert "begun anew" in told[0]


def test_shards_that_lack_images_can_be_written_again(tmp_path, told):
    unfinished = codes_writer.Unfinished(tmp_path / "codes", plan())
    with unfinished.begun(told.append):
        write(unfinished, [0, 2, 3])
        rows, labels = records(3)
        unfinished.write(unfinished.plan.shards[1], [(rows, labels)], ["4.png cannot be read"])
        assert (unfinished.num_skipped("train"), unfinished.num_skipped("held_out")) == (1, 0)
        unfinished.forget_skipped("held_out")
        assert unfinished.is_whole()
        unfinished.forget_skipped("train")
        assert [unfinished.finished(s) is not None for s in unfinished.plan.shards] == [1, 0, 1, 1]
        assert unfinished.num_skipped("train") == 0


def test_damaged_journal_means_not_written(tmp_path, told):
    unfinished = codes_writer.Unfinished(tmp_path / "codes", plan())
    with unfinished.begun(told.append):
        shard = unfinished.plan.shards[0]
        write(unfinished, [0])
        assert unfinished.finished(shard) is not None
        for text in ("", "[]", '{"other": 1}'):
            (unfinished.journal / f"{shard.name}.json").write_text(text)
            assert unfinished.finished(shard) is None


def test_moved_tokenizer_is_still_the_same(tmp_path):
    moved = dataclasses.replace(META, tokenizer="elsewhere")
    assert dataclasses.replace(plan(), meta=moved).sha256() == plan().sha256()
    assert dataclasses.replace(plan(), meta=dataclasses.replace(META, flip=True)) != plan()


def test_kill_while_the_directory_is_put_in_place_loses_nothing(tmp_path, told):
    old = codes_writer.Unfinished(tmp_path / "codes", plan(num_images=(4, 3)))
    with old.begun(told.append):
        write(old, [0, 1])
        old.finish(CODEBOOKS)
    new = codes_writer.Unfinished(tmp_path / "codes", plan())
    with new.begun(told.append):
        write(new, range(4))
    replaced = tmp_path / ".codes.replaced"
    # Killed after the old codes were moved away:
    (tmp_path / "codes").rename(replaced)
    assert not new.is_in_place()
    with new.begun(told.append):
        assert new.is_whole()
        shutil.copytree(new.journal, tmp_path / "journal")
        new.finish(CODEBOOKS)
    # Killed after the new ones were in place, before the rest was removed:
    shutil.copytree(tmp_path / "journal", tmp_path / "codes" / "journal")
    shutil.copytree(tmp_path / "codes", replaced)
    shutil.rmtree(tmp_path / "journal")
    assert new.is_in_place()
    assert [path.name for path in tmp_path.iterdir()] == ["codes"]
    assert not (tmp_path / "codes" / "journal").exists()
    assert not old.is_in_place()


def test_two_runs_do_not_write_the_same_codes(tmp_path, told):
    unfinished = codes_writer.Unfinished(tmp_path / "codes", plan())
    with unfinished.begun(told.append):
        second = codes_writer.Unfinished(tmp_path / "codes", plan())
        with pytest.raises(errors.UserError, match="is in use: process"), second.begun(print):
            pass
    with second.begun(told.append):  # and when the first is over, the second goes on
        pass
