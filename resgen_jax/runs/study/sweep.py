"""Measuring a generator under a grid of settings of its sampler; goes on where it was stopped."""

import dataclasses
import itertools
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from resgen_jax.core import errors
from resgen_jax.evaluation import environment, protocol
from resgen_jax.generators import interface as generators
from resgen_jax.io import paths
from resgen_jax.runs import (
    evaluation_request,
    generated_samples,
    open_run,
    progress,
    sampling,
)
from resgen_jax.runs.study import sweep_results

Grid = Mapping[str, Sequence[Any]]  # of each swept setting its values
# What is swept where nothing is named; of the settings that a sampler has.
DEFAULT: Grid = {
    "num_steps": (4, 8, 16),
    "guidance_scale": (1.0, 1.5, 2.0),
    "temperature": (0.8, 1.0),
}


def run(
    request: evaluation_request.Request, grid: Grid, folder: paths.Path
) -> list[sweep_results.Line]:
    """All points of the grid, those measured before among them.

    Each is measured as `resgen evaluate` measures a generator, on all devices, and its line is on
    disk before the next begins. The settings that the grid leaves alone are those of the request,
    else of the run's config. Raises UserError for a setting that the sampler does not have or
    cannot follow, before anything is drawn.
    """
    lines = sweep_results.read(folder)
    models = generated_samples.open_models(request)
    found = specs(models.generator.config, request.knobs, grid)
    model = models.generator.model
    programs = {spec: _program(model, spec) for spec in found}
    points = {spec: _point(spec, request, models) for spec in found}
    left = [spec for spec in found if not sweep_results.is_done(lines, points[spec])]
    progress.say(f"{len(found)} points, {len(found) - len(left)} of them measured before")
    if left:
        left.sort(key=lambda spec: str(programs[spec]))  # those of one program together
        compared = generated_samples.compare(request, models)
        facts = {
            "distance": compared.extractors[0].network.distance_name,
            **compared.facts,
            "hardware": environment.describe(),
            "version": protocol.version(),
        }
        drawer, program = None, None
        for number, spec in enumerate(left, start=1):
            is_new = programs[spec] != program
            if drawer is None or program is None or programs[spec].choices != program.choices:
                drawer = sampling.Drawer(model, spec, models.tokenizer)
            drawer, program = drawer.under(spec), programs[spec]
            first = _first_batch(drawer, request, models) if is_new else None
            line = _measure(drawer, request, models, compared, first)
            line["network_calls"] = model.num_calls(spec)
            whole = sweep_results.as_read({"point": points[spec], **line, **facts})
            sweep_results.append(folder, whole)
            lines.append(whole)
            progress.say(f"point {number} of {len(left)}: {told(points[spec], grid or DEFAULT)}")
    return [
        line
        for line in lines  # not out of the file, which the first process alone writes
        if any(sweep_results.is_done([line], point) for point in points.values())
    ]


def specs(config: Any, knobs: Mapping[str, Any], grid: Grid) -> list[Any]:
    """The sampler's spec at each point; the last setting of the grid varies fastest.

    Points whose settings exclude each other are left out, and told; UserError where none is left.
    """
    known = [field.name for field in dataclasses.fields(config.sampler)]
    chosen = grid or {name: values for name, values in DEFAULT.items() if name in known}
    made, refused = [], []
    for values in itertools.product(*chosen.values()):
        setting = dict(zip(chosen, values, strict=True))
        try:
            made.append(sampling.spec_with(config, {**knobs, **setting}))
        except errors.UserError as failure:
            refused.append(failure)
    if not made:
        raise refused[0]
    if refused:
        progress.say(f"{len(refused)} points left out, e.g. because {refused[0]}")
    return list(dict.fromkeys(made))


def told(point: Mapping[str, Any], names: Iterable[str]) -> str:
    """Settings of a point as flags of `resgen sample`."""
    settings = point["sampler"]
    return " ".join(f"--{name}={_written(settings[name])}" for name in names if name in settings)


class Program(NamedTuple):
    """What two points have alike that run the same compiled programs."""

    choices: Any
    plan: Any


def _program(model: generators.Generator, spec: Any) -> Program:
    """Raises UserError for a spec that the model cannot follow."""
    model.sampler(spec)
    leaves, tree = jax.tree.flatten(model.plan(spec, model.space.num_tokens))
    return Program(getattr(spec, "choices", None), (tree, [np.shape(leaf) for leaf in leaves]))


def _point(
    spec: Any, request: evaluation_request.Request, models: generated_samples.Models
) -> dict[str, Any]:
    """All that the figures of a point depend on: another value is another point."""
    return {
        "sampler": dataclasses.asdict(spec),
        "guide": request.guide,
        "seed": request.seed,
        "num_samples": request.num_samples,
        "labels": request.labels,
        "batch_size": request.batch_size,
        "step": models.generator.step,
        "tokenizer_step": models.tokenizer.step,
        "features": request.features or "all",
        "judge": request.judge,
        "compared": request.reference or request.images or "training images",
        "num_images": request.num_images,
    }


def _first_batch(
    drawer: sampling.Drawer, request: evaluation_request.Request, models: generated_samples.Models
) -> float:
    """Seconds of a batch that is thrown away: compilation and all that is done once."""
    started = time.perf_counter()
    batches = generated_samples.stream(drawer, request, models, request.seed)
    jax.block_until_ready(next(batches).images)
    return time.perf_counter() - started


def _measure(
    drawer: sampling.Drawer,
    request: evaluation_request.Request,
    models: generated_samples.Models,
    compared: generated_samples.Compared,
    first_seconds: float | None,
) -> dict[str, Any]:
    """The figures of one point; codes and decoded images are timed, features are not."""
    seconds: list[float] = []
    stream = generated_samples.stream(drawer, request, models, request.seed)
    collected = generated_samples.collect(compared, _timed(stream, seconds), request.num_samples)
    labels = generated_samples.labels_of(request, models, request.seed)
    typical = statistics.median(seconds)
    size = open_run.batch_for(models.generator.mesh, request.batch_size, request.num_samples)
    return {
        "metrics": generated_samples.figures(request, compared, collected, labels),
        "seconds_per_image": typical / size,
        # Of the first point of a program alone; the others find it compiled.
        "compile_seconds": first_seconds and max(first_seconds - typical, 0.0),
    }


def _timed(batches: Iterator[sampling.Batch], seconds: list[float]) -> Iterator[sampling.Batch]:
    """The same batches; how long each took is added to `seconds`."""
    while True:
        started = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        jax.block_until_ready(batch.images)
        seconds.append(time.perf_counter() - started)
        yield batch


def _written(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
