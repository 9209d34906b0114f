"""Methods held against one another: trained alike on the same codes, and measured alike."""

import dataclasses
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from resgen_jax.core import trees
from resgen_jax.io import paths
from resgen_jax.runs import (
    evaluate_files,
    evaluation_request,
    experiments,
    progress,
    run_directory,
    train,
)
from resgen_jax.runs.configs import comparisons
from resgen_jax.runs.study import known_images, sweep, sweep_results
from resgen_jax.scaling.laws import study

Row = dict[str, Any]
# The nats of a code of a whole example: exact ones of autoregressive methods, bounds of the others.
# "code_nll/mean" is none of them: a masked model's is told the coarser levels of all positions.
NATS = {"code_exact": "exact", "code_bound": "bound", "code_head_bound": "bound, code head"}


def run(
    comparison: comparisons.Comparison,
    workdir: str | os.PathLike,
    only: Callable[[str], bool] = lambda name: True,
    *,
    features: str | None = None,
    weights: str | None = None,
    judge: str | None = None,
) -> list[Row]:
    """Trains what is not trained, measures what is not measured, and gives a row for each point.

    Below them stand rows of images that are known (`known_images`): what the figures can be at all.
    `only` chooses runs by their names. An interrupted comparison goes on where it stopped. Raises
    UserError before any training if the weights of a feature network are not at hand.
    """
    asked = evaluation_request.Request(
        features=features, weights=weights, judge=judge, statistics=str(paths.of(workdir))
    )
    chosen = [member for member in comparison.members if only(member.name)]
    evaluate_files.open_extractors(asked)  # what is missing is told before the hours of training
    rows: list[Row] = []
    for number, member in enumerate(chosen, start=1):
        place = comparisons.folder(workdir, member)
        check_same(place, member.config)
        progress.say(f"run {number} of {len(chosen)}, {member.name}")
        if study.status(place, member.config.train.num_steps) != study.DONE:
            train.train(member.config, place)
        rows += measure(comparison, member, workdir, asked)
    return rows + known(_request(comparison, chosen[0], workdir, asked))


def measure(
    comparison: comparisons.Comparison,
    member: comparisons.Member,
    workdir: str | os.PathLike,
    asked: evaluation_request.Request,
) -> list[Row]:
    """A row for each setting and sampling seed of a trained run; `asked` names the networks."""
    place, spec = comparisons.folder(workdir, member), comparison.spec
    told = trained(member, workdir)
    rows = []
    for seed in spec.sampling_seeds:
        request = dataclasses.replace(_request(comparison, member, workdir, asked), seed=seed)
        # Without settings of its own a method is measured once, as its config samples.
        grid = comparison.grids[member.method] or {
            "temperature": [member.config.sampler.temperature]
        }
        lines = sweep.run(request, grid, place)
        rows += [
            {**told, **_sampled(line, grid), **_measured(line), "sampling_seed": seed}
            for line in lines
        ]
    return rows


def known(request: evaluation_request.Request) -> list[Row]:
    """Rows of images whose quality is known, with nothing in the columns of a training."""
    nothing = ("num_parameters", "num_steps", "nats", "nats_are", "seconds_per_image")
    return [
        {
            **dict.fromkeys((*nothing, "network_calls")),
            **{"method": name, "seed": 0, "setting": {}},
            **_measured(line),
        }
        for name, line in known_images.measure(request).items()
    ]


def trained(member: comparisons.Member, workdir: str | os.PathLike) -> Row:
    """What is known of a trained run: its size, its steps, and the nats of codes held out."""
    place, config = comparisons.folder(workdir, member), member.config
    found = experiments.assumed(config)
    params = jax.eval_shape(found.task.init, jax.random.key(0)).params
    auxiliary = {name for name in found.recipe.auxiliary if _is_auxiliary(config, name)}
    model = {part: tree for part, tree in params.items() if part not in auxiliary}
    held_out = study.held_out(place, config.train.num_steps)
    nats, nats_are = nats_of(held_out)
    return {
        "method": member.method,
        "seed": member.seed,
        "num_parameters": trees.num_parameters(model),
        "num_steps": config.train.num_steps,
        "held_out_loss": held_out.get("loss"),
        "nats": nats,
        "nats_are": nats_are,
    }


def nats_of(held_out: Mapping[str, Any]) -> tuple[float | None, str | None]:
    """The nats of a code of a whole example, and which kind they are; None where there are none."""
    known = ((held_out[name], kind) for name, kind in NATS.items() if name in held_out)
    return next(known, (None, None))


def check_same(place: Any, config: Any) -> None:
    """Raises UserError where a directory holds the run of another config."""
    if (place / "config.json").exists():
        there = run_directory.read_fields(place)
        run_directory.refuse_other(place, there, run_directory.to_json(config), is_same_data=True)


def _is_auxiliary(config: Any, part: str) -> bool:
    """Whether sampling does without this part: not so where the sampler is set to ask it."""
    sampler = vars(config.sampler)
    return not any(
        part in str(sampler.get(name, "")) or sampler.get(name) == "code_head"
        for name in ("proposal", "confidence")
    )


def _request(
    comparison: comparisons.Comparison,
    member: comparisons.Member,
    workdir: str | os.PathLike,
    asked: evaluation_request.Request,
) -> evaluation_request.Request:
    """What is measured of a run; statistics of the real images are kept once for all."""
    spec = comparison.spec
    return dataclasses.replace(
        asked,
        workdir=str(comparisons.folder(workdir, member)),
        num_samples=spec.num_samples,
        num_images=spec.num_reference,
        batch_size=spec.batch_size,
    )


def _measured(line: Mapping[str, Any]) -> Row:
    metrics = line["metrics"]
    kinds = ("FD", "FID", "MIND")
    distance = {name: value for name, value in metrics.items() if name.startswith(kinds)}
    return {
        **distance,
        "class_agreement": sweep_results.verdict(line, "class_agreement"),
        "variety": sweep_results.verdict(line, "variety"),
        "hardware": line["hardware"],
    }


def _sampled(line: sweep_results.Line, grid: Mapping[str, Sequence[Any]]) -> Row:
    settings = line["point"]["sampler"]
    return {
        "setting": {name: settings[name] for name in grid},
        "seconds_per_image": line["seconds_per_image"],
        "network_calls": line["network_calls"],
    }
