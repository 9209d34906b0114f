"""Evaluation while training: evaluators of the loop, on its mesh, of the average parameters."""

import contextlib
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from typing import Any, cast

import jax
import numpy as np

from resgen_jax import recipes
from resgen_jax.core import errors
from resgen_jax.data import codes, sources, spread
from resgen_jax.evaluation import distances, features, grid, online
from resgen_jax.runs import experiments, measuring, open_run, places, sampling
from resgen_jax.runtime import interruption
from resgen_jax.training import loop
from resgen_jax.training.state import TrainState

COLUMNS = 8  # of images shown
Note = Callable[[str], None]


def evaluators(
    config: Any,
    workdir: str | os.PathLike,
    experiment: experiments.Experiment,
    note: Note,
) -> tuple[loop.Evaluator, ...]:
    """What the section `evaluation` asks for: one evaluator, or none while it is off.

    Weights are loaded now, so that what is missing is told before training; the statistics of the
    real images are computed when first needed, and kept in `workdir`.
    """
    spec = config.evaluation
    if not spec.is_on:
        return ()
    train = config.train
    spec.check_cadence(train.evaluate_every)
    kind = KINDS[recipes.find(config.task).role.noun]
    evaluator = kind(spec, config, workdir, experiment, note)

    def evaluate(state: TrainState, step: int) -> dict[str, Any]:
        return evaluator(state) if spec.is_due(step, train.num_steps) else {}

    return (evaluate,)


class TokenizerEvaluator:
    """Reconstructions of held-out images: PSNR, SSIM, LPIPS and the distance, with all levels."""

    def __init__(
        self,
        spec: online.Spec,
        config: Any,
        workdir: str | os.PathLike,
        experiment: experiments.Experiment,
        note: Note,
    ):
        self._spec, self._config, self._workdir = spec, config, workdir
        self._model, self._mesh, self._note = experiment.model, experiment.mesh, note
        self._extractor = _extractor(spec, experiment)
        image_size = experiment.model.image_size
        has_lpips = measuring.has_lpips(spec.weights or None, image_size)
        self._lpips = measuring.lpips_measure(spec.weights or None) if has_lpips else None

    def __call__(self, state: TrainState) -> dict[str, Any]:
        """The figures of this state, and some reconstructions."""
        run = open_run.TokenizerRun(
            self._config,
            self._model,
            self._mesh,
            int(state.step),
            state.average_params,
            state.statistics,
        )
        shown = _Shown(self._spec.num_shown)
        figures = self._reconstructions.run(run, note=self._note, show=shown.compare)
        names = [key.removesuffix("_by_depth") for key in figures if key.endswith("_by_depth")]
        found = {measuring.NAMES.get(name, name): figures[name] for name in names}
        return found | shown.picture("reconstructions")

    @functools.cached_property
    def _reconstructions(self) -> measuring.Reconstructions:
        spec, data = self._spec, self._config.data
        dataset = sources.open_images(data)
        compared = None
        if self._extractor is not None:
            compared = measuring.reference_of(
                self._workdir,
                "held_out",
                dataset,
                self._extractor,
                num_images=spec.num_samples,
                batch_size=spec.batch_size,
                num_threads=data.num_threads,
                crop=data.crop,
                phase=_silent,
            )
        run = open_run.TokenizerRun(self._config, self._model, self._mesh, 0, None, None)
        return measuring.Reconstructions(
            run,
            spread.Spread(dataset.held_out, spec.num_samples),
            batch_size=spec.batch_size,
            depths=(self._model.depth,),
            extractor=self._extractor,
            compared=compared,
            lpips=self._lpips,
        )


class GeneratorEvaluator:
    """Samples of balanced classes against the training images, by the config's sampler."""

    def __init__(
        self,
        spec: online.Spec,
        config: Any,
        workdir: str | os.PathLike,
        experiment: experiments.Experiment,
        note: Note,
    ):
        if spec.features == online.NO_NETWORK:
            raise errors.UserError(
                "evaluation.features is 'none', which is for tokenizers; name a network, or leave "
                "it empty"
            )
        self._spec, self._workdir, self._note = spec, workdir, note
        self._mesh = experiment.mesh
        self._extractor = cast(features.Extractor, _extractor(spec, experiment))
        meta = codes.read(config.data.codes).meta
        meta = places.settle_tokenizer(meta, config.data.codes, note)
        moved_to = spec.tokenizer or None
        self._tokenizer = open_run.open_tokenizer_of(meta, moved_to, note, experiment.mesh)
        sampler = config.sampler
        if spec.guidance_scale >= 0:
            sampler = dataclasses.replace(sampler, guidance_scale=spec.guidance_scale)
        self._drawer = sampling.Drawer(experiment.model, sampler, self._tokenizer)
        self._labels = sampling.in_turn(None, len(meta.class_names), spec.num_samples)

    def __call__(self, state: TrainState) -> dict[str, Any]:
        """The figures of this state, and some samples; the same noise at every step."""
        batches = self._drawer.stream(
            self._mesh,
            state.average_params,
            state.statistics["codebooks"],
            self._labels,
            self._spec.seed,
            self._spec.batch_size,
        )
        compared, shown = self._reference, _Shown(self._spec.num_shown)
        (collected,) = measuring.collect_samples(
            [self._extractor],
            shown.watch(interruption.watched(batches)),
            keeps_features=compared.features is not None,
        )
        found = distances.measure(
            self._extractor,
            collected,
            compared,
            note=self._note,
            sharding=measuring.batch_sharding(self._extractor),
        )
        return found | shown.picture("samples")

    @functools.cached_property
    def _reference(self) -> Any:
        data = self._tokenizer.config.data
        return measuring.reference_of(
            self._workdir,
            "train",
            sources.open_images(data),
            self._extractor,
            num_images=self._spec.num_reference,
            batch_size=self._spec.batch_size,
            num_threads=data.num_threads,
            crop=data.crop,
            phase=_silent,
        )


KINDS: dict[str, Any] = {
    "tokenizer": TokenizerEvaluator,
    "generator": GeneratorEvaluator,
}  # by role


class _Shown:
    """The first so many images of what is measured, on a sheet for TensorBoard."""

    def __init__(self, count: int):
        self._count = count
        self._rows: tuple[np.ndarray, ...] = ()

    def compare(self, originals: jax.Array, made: jax.Array) -> None:
        """Keeps of the first batch the images, to stand above what is made of them: "b 1 h w c"."""
        if self._count and not self._rows:
            rows = open_run.fetch(originals), open_run.fetch(made)[:, -1]
            self._rows = tuple(images[: self._count] for images in rows)

    def watch(self, batches: Iterable[sampling.Batch]) -> Iterator[sampling.Batch]:
        """The batches as they come; of the first, samples are kept."""
        for batch in batches:
            if self._count and not self._rows:
                self._rows = (open_run.fetch(batch.images)[: min(self._count, batch.count)],)
            yield batch

    def picture(self, name: str) -> dict[str, np.ndarray]:
        """The sheet by its name; nothing where none is wanted."""
        if not self._rows:
            return {}
        columns = min(COLUMNS, len(self._rows[0]))
        strips = [_in_rows(images, columns) for images in self._rows]
        tiles = np.concatenate(strips, axis=1)
        sheet = grid.image_grid(tiles.reshape(-1, *tiles.shape[2:]), columns)
        return {name: np.asarray(sheet)}


def _in_rows(images: np.ndarray, columns: int) -> np.ndarray:
    """Images "n h w c" as "r columns h w c", what is over in the last row left out."""
    rows = len(images) // columns
    return images[: rows * columns].reshape(rows, columns, *images.shape[1:])


def _extractor(spec: online.Spec, experiment: experiments.Experiment) -> features.Extractor | None:
    if spec.features == online.NO_NETWORK:
        return None
    return measuring.open_extractor(spec.features, spec.weights or None, experiment.mesh)


def _silent(name: str, total: int) -> contextlib.AbstractContextManager[measuring.Report]:
    """A phase that shows nothing: the bar of the training is under way."""
    del name, total
    return contextlib.nullcontext(lambda done: None)
