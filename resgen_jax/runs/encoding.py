"""The work behind encoding: images in threads, batches on this process's own devices."""

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, cast

import jax
import numpy as np
from jax.sharding import Mesh

from resgen_jax.core import errors
from resgen_jax.data import codes, codes_writer, pipeline, sources, views
from resgen_jax.data import images as image_files
from resgen_jax.runs import open_run, progress
from resgen_jax.runtime import mesh as meshes

SECONDS_BETWEEN_LOOKS = 1.0


class Encoder(NamedTuple):
    """The tokenizer on this process's own devices, so that processes need not keep in step."""

    model: Any
    mesh: Mesh
    params: Any
    statistics: Any
    codebooks: np.ndarray
    identity: str


def open_encoder(tokenizer: open_run.TokenizerRun) -> Encoder:
    """The tokenizer for this process; all processes have to call it."""
    model = tokenizer.model
    codebooks = open_run.fetch(model.codebooks(tokenizer.statistics))
    params, statistics = jax.tree.map(open_run.fetch, (tokenizer.params, tokenizer.statistics))
    identity = _identity(tokenizer.step, (params, statistics))
    if jax.process_count() == 1:
        mesh, params, statistics = tokenizer.mesh, tokenizer.params, tokenizer.statistics
    else:
        mesh = meshes.make(meshes.Spec(), jax.local_devices())
        params, statistics = jax.device_put((params, statistics), meshes.replicated(mesh))
    return Encoder(model, mesh, params, statistics, codebooks, identity)


def encode_program(model: Any) -> Any:
    """Jitted: parameters, statistics and uint8 images to codes "b l q"."""
    return jax.jit(
        lambda params, statistics, images: model.encode(
            params, statistics, image_files.to_unit(images)
        )
    )


def _identity(step: int, arrays: Any) -> str:
    """The tokenizer's step, and a sha256 of all its arrays."""
    found = hashlib.sha256()
    for path, array in jax.tree_util.tree_leaves_with_path(arrays):
        found.update(f"{jax.tree_util.keystr(path)} {array.dtype} {array.shape} ".encode())
        found.update(np.ascontiguousarray(array).tobytes())
    return f"step {step} {found.hexdigest()}"


class _Image(NamedTuple):
    """The views of an image and its label, or why there are none."""

    pixels: np.ndarray | None
    label: int
    failure: image_files.UnreadableImage | None = None


class _Batch(NamedTuple):
    """Images of one shard; the codes of the rows before `num_rows` are wanted."""

    pixels: np.ndarray
    labels: np.ndarray
    num_rows: int


class Work:
    """The shards of this process."""

    def __init__(
        self,
        unfinished: codes_writer.Unfinished,
        dataset: sources.Dataset,
        encoder: Encoder,
        spec: sources.Spec,
        batch_size: int,
    ):
        self.unfinished, self.dataset, self.encoder, self.spec = unfinished, dataset, encoder, spec
        self.meta = unfinished.plan.meta
        self.batch_size = open_run.batch_for(
            encoder.mesh, batch_size, max(map(len, dataset[:2])) * self.meta.num_views
        )
        self.num_threads = spec.num_threads or min(16, 2 * (os.cpu_count() or 1))
        self.sharding = meshes.batch_sharding(encoder.mesh)
        self.step = encode_program(encoder.model)

    def run(self) -> None:
        """Encodes the shards of this process that are not finished."""
        shares = self.unfinished.plan.shards[jax.process_index() :: jax.process_count()]
        mine = [shard for shard in shares if self.unfinished.finished(shard) is None]
        mine.sort(key=lambda shard: shard.part == "train")  # held-out ones may not be skipped
        images = pipeline.read_ahead(
            lambda place: self._read(*place),
            ((shard, index) for shard in mine for index in range(shard.start, shard.stop)),
            num_threads=self.num_threads,
            ahead=self.batch_size + self.num_threads,
        )
        total, done = sum(shard.stop - shard.start for shard in mine), 0
        try:
            with progress.phase("encode", total) as report:
                for shard in mine:
                    self._encode_shard(shard, images, done, report)
                    done += shard.stop - shard.start
        except errors.UserError as failure:
            self._tell_others(failure)
            raise
        finally:
            images.close()

    def _tell_others(self, failure: errors.UserError) -> None:
        if jax.process_count() > 1:  # they would wait for ever
            self.unfinished.fail(jax.process_index(), str(failure))

    def check_skipped(self) -> None:
        """Raises UserError if the processes together have skipped too many images."""
        for part in codes.PARTS:
            count = self.unfinished.num_skipped(part)
            if count > self._allowed(part):
                failure = errors.UserError(
                    f"{count} images cannot be read ({self._limit(part)}); each was named before"
                )
                self._tell_others(failure)
                self.unfinished.forget_skipped(part)  # they may be repaired
                raise failure

    def _allowed(self, part: str) -> int:
        """Images of a part that may be unreadable."""
        return self.spec.max_unreadable if part == "train" else 0

    def _limit(self, part: str) -> str:
        if part == "train":
            return f"data.max_unreadable is {self.spec.max_unreadable}"
        return "every held-out image has to be readable"

    def wait(self, is_over: Callable[[], bool]) -> None:
        """Until the other processes are done; UserError if one of them gave up."""
        while not is_over():
            failure = self.unfinished.failure()
            if failure is not None:
                raise errors.UserError(failure)
            time.sleep(SECONDS_BETWEEN_LOOKS)

    def _read(self, shard: codes_writer.Shard, index: int) -> _Image:
        wanted = [views.PLAIN]
        if shard.part == "train":
            meta = self.meta
            wanted = views.fixed(meta.num_crops, meta.flip, meta.random_crop, index)
        try:
            pixels, label = getattr(self.dataset, shard.part).views(index, wanted)
            return _Image(pixels, int(label))
        except image_files.UnreadableImage as failure:
            return _Image(None, 0, failure)

    def _encode_shard(
        self,
        shard: codes_writer.Shard,
        images: Iterator[_Image],
        done: int,
        report: Any,
    ) -> None:
        skipped: list[str] = []
        allowed = self._allowed(shard.part) - self.unfinished.num_skipped(shard.part)

        def readable() -> Iterator[_Image]:
            for count in range(shard.stop - shard.start):
                image = next(images)
                if image.failure is None:
                    yield image
                else:
                    skipped.append(str(image.failure))
                    if len(skipped) > allowed:
                        raise errors.UserError(f"{image.failure} ({self._limit(shard.part)})")
                    report.note(f"skipped: {image.failure}")
                report(done + count + 1)

        self.unfinished.write(shard, self._codes(self._batches(readable())), skipped)

    def _batches(self, images: Iterator[_Image]) -> Iterator[_Batch]:
        """Full batches, the last one filled up with rows that do not count."""
        pixels: list[np.ndarray] = []
        labels: list[int] = []
        for image in images:
            seen = cast(np.ndarray, image.pixels)  # those without are not among these
            pixels += list(seen)
            labels += [image.label] * len(seen)
            while len(pixels) >= self.batch_size:
                size = self.batch_size
                yield _Batch(np.stack(pixels[:size]), np.array(labels[:size], np.int32), size)
                pixels, labels = pixels[size:], labels[size:]
        if pixels:
            filled = pixels + [pixels[-1]] * (self.batch_size - len(pixels))
            yield _Batch(np.stack(filled), np.array(labels, np.int32), len(pixels))

    def _codes(self, batches: Iterator[_Batch]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Codes and labels; the device computes a batch while the one before is written."""
        before = None
        for batch in batches:
            pixels = jax.device_put(batch.pixels, self.sharding)
            with jax.set_mesh(self.encoder.mesh):  # the quantizer bounds its memory by the device
                found = self.step(self.encoder.params, self.encoder.statistics, pixels)
            if before is not None:
                yield np.asarray(before[0])[: before[1].num_rows], before[1].labels
            before = found, batch
        if before is not None:
            yield np.asarray(before[0])[: before[1].num_rows], before[1].labels
