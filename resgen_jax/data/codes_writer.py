"""Writing a codes directory shard by shard, so that a killed run goes on where it was.

Until it is whole it lies beside its place, in .NAME.unfinished/. Its folder journal/ holds
plan.json, what it is of, and for every finished shard a file that says so. A shard that is under
way has a name of its own, so whatever moment the run is killed at, a shard is whole or not there.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import pathlib
import shutil
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from jaxtyping import Float32, Integer

from resgen_jax.data import codes, shards
from resgen_jax.io import disks, files, json_files, locks, paths

JOURNAL, PLAN = "journal", "plan.json"
RECORDS_PER_SHARD = 2**16


class Shard(NamedTuple):
    """The images `start` to `stop` of a part of the dataset, and the file of their codes."""

    part: str
    number: int
    count: int  # type: ignore[assignment]  # tuples have a method of this name
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The file's name."""
        return shards.name(f"codes_{self.part}", self.number, self.count)


class Finished(NamedTuple):
    """What the journal says of a finished shard."""

    num_records: int
    sha256: str
    skipped: list[str]  # a line for each image that could not be read


@dataclasses.dataclass(frozen=True)
class Plan:
    """All that decides what the files will be; `identity` tells the images and the tokenizer."""

    meta: codes.Meta
    num_images: tuple[int, int]  # to train on, held out
    num_views: int = 1  # records of each image to train on
    records_per_shard: int = RECORDS_PER_SHARD
    identity: tuple[str, ...] = ()

    @functools.cached_property
    def shards(self) -> tuple[Shard, ...]:
        """All shards in order; a part without images has none."""
        found = []
        for part, num_images in zip(codes.PARTS, self.num_images, strict=True):
            num_views = self.num_views if part == "train" else 1
            size = max(1, self.records_per_shard // num_views)
            count = -(-num_images // size)
            for number in range(count):
                start = number * size
                found.append(Shard(part, number, count, start, min(start + size, num_images)))
        return tuple(found)

    def text(self) -> str:
        """The plan as it is kept; the tokenizer may move, its weights are in the identity."""
        fields = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        fields["meta"] = dataclasses.replace(self.meta, tokenizer="").fields()
        return json.dumps({"format": codes.FORMAT, **fields}, indent=2, sort_keys=True) + "\n"

    def sha256(self) -> str:
        """What tells this plan from another."""
        return hashlib.sha256(self.text().encode()).hexdigest()


def folder_of(path: pathlib.Path) -> pathlib.Path:
    """Where the codes that go to `path` lie until they are whole."""
    path = path.absolute()
    return path.with_name(f".{path.name}.unfinished")


class Unfinished:
    """A codes directory under way; many processes may share it, each with shards of its own."""

    def __init__(self, path: str | os.PathLike, plan: Plan):
        self.path, self.plan = pathlib.Path(path).absolute(), plan
        self.folder = folder_of(self.path)
        self.journal = self.folder / JOURNAL

    @contextlib.contextmanager
    def begun(self, note: Callable[[str], None]) -> Iterator[None]:
        """The folder, made, or kept if it is of this plan; for one process, as long as it works.

        What is left of another plan is removed, and `note` is told. Raises UserError where another
        run is at it.
        """
        with alone(self.path, note), disk_errors(self.path):
            self._begin(note)
            yield

    def _begin(self, note: Callable[[str], None]) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self._clear(note)

    def _clear(self, note: Callable[[str], None]) -> None:
        plan = self.journal / PLAN
        if plan.is_file() and plan.read_text() != self.plan.text():
            note(
                f"{self.folder} was begun with another tokenizer, other images or other flags: "
                f"begun anew"
            )
            plan.unlink()
        if not plan.is_file():
            for leftover in self.folder.glob("*"):
                shutil.rmtree(leftover) if leftover.is_dir() else leftover.unlink()
        self.journal.mkdir(exist_ok=True)
        for leftover in [*self.folder.glob(".*"), *self.journal.glob("failed-*")]:
            leftover.unlink()
        self._keep(plan, self.plan.text())
        num_done = sum(self.finished(shard) is not None for shard in self.plan.shards)
        if num_done:
            note(f"{num_done} of {len(self.plan.shards)} shards were written before")

    def finished(self, shard: Shard) -> Finished | None:
        """What the journal says of a shard; None if it is still to be written."""
        try:
            fields = json_files.parse((self.journal / f"{shard.name}.json").read_bytes())
            found = Finished(**fields)
        except (FileNotFoundError, ValueError, TypeError):  # not yet, or not as it was written
            return None
        return found if (self.folder / shard.name).is_file() else None

    def num_skipped(self, part: str) -> int:
        """Images of a part that could not be read, in all finished shards."""
        found = [self.finished(shard) for shard in self.plan.shards if shard.part == part]
        return sum(len(one.skipped) for one in found if one is not None)

    def forget_skipped(self, part: str) -> None:
        """Lets the shards that lack images be written again."""
        for shard in self.plan.shards:
            found = self.finished(shard) if shard.part == part else None
            if found is not None and found.skipped:
                (self.journal / f"{shard.name}.json").unlink()

    def write(
        self,
        shard: Shard,
        batches: Iterable[tuple[Integer[np.ndarray, "_ l q"], Integer[np.ndarray, "_"]]],
        skipped: list[str],
    ) -> None:
        """The shard of these (codes, labels); `skipped` is looked at when all have been taken."""
        with disk_errors(self.path):
            written = shards.write(self.folder / shard.name, codes.pack(batches, self.plan.meta))
            fields = Finished(*written, skipped)._asdict()
            self._keep(self.journal / f"{shard.name}.json", json.dumps(fields) + "\n")

    def is_whole(self) -> bool:
        """Whether all shards of all processes are written."""
        return all(self.finished(shard) is not None for shard in self.plan.shards)

    def finish(self, codebooks: Float32[np.ndarray, "q v c"]) -> None:
        """Describes the shards and puts the directory in its place; by one process alone."""
        meta = self.plan.meta
        if codebooks.shape != meta.space.codes.codebooks_shape:
            raise ValueError(f"codebooks {codebooks.shape} are not those of {meta}")
        with disk_errors(self.path):
            counts: dict[str, dict[str, int]] = {part: {} for part in codes.PARTS}
            np.save(self.folder / codes.CODEBOOKS, codebooks)
            sums = {codes.CODEBOOKS: files.sha256(self.folder / codes.CODEBOOKS)}
            for shard in self.plan.shards:
                found = self.finished(shard)
                if found is None:
                    raise ValueError(f"{shard.name} is not written yet")
                counts[shard.part][shard.name] = found.num_records
                sums[shard.name] = found.sha256
            description = codes.describe(meta, counts, sums, self.plan.sha256())
            self._keep(self.folder / codes.DESCRIPTION, json.dumps(description, indent=2) + "\n")
            self._move()

    def fail(self, process: int, reason: str) -> None:
        """Tells the other processes that this one gave up."""
        self._keep(self.journal / f"failed-{process}", reason)

    def failure(self) -> str | None:
        """Why another process gave up, if one did."""
        found = next(iter(sorted(self.journal.glob("failed-*"))), None)
        return None if found is None else found.read_text()

    def _keep(self, path: pathlib.Path, text: str) -> None:
        with files.replacing(path) as unfinished:
            unfinished.write_text(text)
            files.sync(unfinished)

    def _move(self) -> None:
        replaced = self.path.with_name(f".{self.path.name}.replaced")
        shutil.rmtree(replaced, ignore_errors=True)
        if self.path.exists():
            self.path.rename(replaced)
        self.folder.rename(self.path)
        shutil.rmtree(self.path / JOURNAL)
        shutil.rmtree(replaced, ignore_errors=True)

    def is_in_place(self) -> bool:
        """Whether the codes directory is there, and of this plan; removes what a kill left of it.

        That is the case, too, after a run that was killed when its last shard was in place.
        """
        if self.folder.exists() or codes.plan_of(self.path) != self.plan.sha256():
            return False
        shutil.rmtree(self.path / JOURNAL, ignore_errors=True)
        shutil.rmtree(self.path.with_name(f".{self.path.name}.replaced"), ignore_errors=True)
        return True


@contextlib.contextmanager
def alone(place: paths.Path, note: locks.Say) -> Iterator[None]:
    """The codes directory `place` is this process's to write; UserError if it is another's.

    Raises UserError, too, where something else lies there. `note` hears of a run that may be gone.
    """
    codes.check_writable(place)
    with locks.held(codes.lock_of(place), os.fspath(place), "name another place", note):
        yield


def publish(folder: pathlib.Path, place: paths.Path) -> None:
    """Moves a codes directory of this machine into a bucket; its description goes last.

    Replaces an earlier codes directory there, and raises UserError for anything else.
    """
    codes.check_writable(place)
    names = sorted(path.name for path in folder.iterdir() if path.is_file())
    # Until the last file is there: nothing to be read, but no stranger's folder either.
    paths.write(place / codes.DESCRIPTION, json.dumps({"format": codes.FORMAT}).encode())
    for name in sorted(names, key=lambda name: name == codes.DESCRIPTION):
        paths.upload(folder / name, place / name)
    for name in set(paths.names_in(place)) - {*names, codes.LOCK}:  # of the codes before these
        (place / name).unlink()
    shutil.rmtree(folder)


def write(
    path: str | os.PathLike,
    *,
    train: tuple[Integer[np.ndarray, "_ l q"], Integer[np.ndarray, "_"]],
    held_out: tuple[Integer[np.ndarray, "_ l q"], Integer[np.ndarray, "_"]],
    codebooks: Float32[np.ndarray, "q v c"],
    meta: codes.Meta,
    records_per_shard: int = RECORDS_PER_SHARD,
) -> None:
    """A codes directory of (codes, labels) that are in memory, all at once or not at all.

    Replaces an earlier codes directory, but refuses to replace anything else.
    """
    parts = {"train": train, "held_out": held_out}
    for part, (rows, labels) in parts.items():
        codes.check_codes(rows, meta.space.codes.codebook_size)
        if len(rows) != len(labels):
            raise ValueError(f"{len(rows)} codes but {len(labels)} labels {part}")
    num_records = (len(train[0]), len(held_out[0]))
    unfinished = Unfinished(path, Plan(meta, num_records, records_per_shard=records_per_shard))
    with alone(unfinished.path, note=lambda text: None), disk_errors(unfinished.path):
        shutil.rmtree(unfinished.folder, ignore_errors=True)
        try:
            unfinished._begin(note=lambda text: None)
            for shard in unfinished.plan.shards:
                rows, labels = parts[shard.part]
                where = slice(shard.start, shard.stop)
                unfinished.write(shard, [(rows[where], labels[where])], [])
            unfinished.finish(codebooks)
        finally:
            shutil.rmtree(unfinished.folder, ignore_errors=True)


def disk_errors(path: pathlib.Path) -> contextlib.AbstractContextManager[None]:
    """A full or closed disk as a UserError about the codes directory `path`."""
    return disks.explained(
        f"the codes to {path}", "make room or name another place; what was there before is intact"
    )
