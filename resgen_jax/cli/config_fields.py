"""Every field of a config in words: its value, the type or the choices it has, and its meaning."""

import dataclasses
import typing
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import ml_collections

from resgen_jax.cli import online_evaluation, sections
from resgen_jax.convert import weights
from resgen_jax.core import fields
from resgen_jax.data import images, sources, views
from resgen_jax.features import lpips
from resgen_jax.generators import choices
from resgen_jax.losses import adversarial, reconstruction
from resgen_jax.nn import conv2d, transformer
from resgen_jax.processes import mask_schedules, rvq_masking
from resgen_jax.quantizers import gradients
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.samplers import guidance, order
from resgen_jax.tokenizers import discriminators, rq_vae
from resgen_jax.training import adversary, optimizer, resgen_loss, rq_vae_loss

# Of fields that take one of some values: the table in which the value is looked up.
CHOICES: dict[str, Iterable[Any]] = {
    "data.source": sources.OPENERS,
    "data.channels": images.MODES,
    "data.crop": views.CROPS,
    "model.attention": conv2d.ATTENTIONS,
    "model.bridge_size": rq_vae.BRIDGE_SIZES,
    "model.dtype": rq_vae.DTYPES,
    "model.trunk.activation": transformer.ACTIVATIONS,
    "model.trunk.remat": transformer.REMAT,
    "model.trunk.compute_dtype": transformer.COMPUTE_DTYPES,
    "quantizer.learner": quantizers.LEARNERS,
    "loss.reconstruction": reconstruction.KINDS,
    "loss.perceptual": ("", *lpips.BACKBONES),
    "loss.commitment": rq_vae_loss.COMMITMENTS,
    "loss.gradient": gradients.GRADIENTS,
    "loss.objective": resgen_loss.OBJECTIVES,
    "loss.mask_schedule": mask_schedules.SCHEDULES,
    "loss.masks": rvq_masking.MASKS,
    "evaluation.features": ("", online_evaluation.NO_NETWORK, *weights.FEATURE_NETWORKS),
    "adversarial.kind": discriminators.KINDS,
    "adversarial.normalization": discriminators.NORMALIZATIONS,
    "adversarial.loss": adversarial.KINDS,
    "adversarial.weighting": adversary.WEIGHTINGS,
    "adversarial.optimizer.decay": optimizer.DECAYS,
    "optimizer.decay": optimizer.DECAYS,
    "sampler.mask_schedule": mask_schedules.SCHEDULES,
    "sampler.masks": choices.KINDS.masks,
    "sampler.proposal": choices.KINDS.proposal,
    "sampler.confidence": choices.KINDS.confidence,
    "sampler.order_noise_decay": order.DECAYS,
    "sampler.guidance_schedule": guidance.SCHEDULES,
}
# Of what stands in a config beside the fields of the sections' dataclasses.
OTHERS = {
    "seed": "of the first parameters, of the order of the data and of all that is drawn",
    "quantizer.learner": "how the codebooks learn",
}
KINDS = {int: "whole number", float: "number", bool: "true or false", str: "text"}


class Field(NamedTuple):
    """One line of the list."""

    name: str  # dotted, as in --config.NAME
    value: Any
    kind: str  # its type or its choices
    meaning: str


def of_config(config: ml_collections.ConfigDict) -> Iterator[tuple[str, str, list[Field]]]:
    """Name, summary and fields of each section that the config has."""
    yield "", "", [_field("seed", config.seed, int, OTHERS["seed"])]
    known = sections.SECTIONS[config.task] | sections.OPTIONAL[config.task]
    for section, cls in known.items():
        if section in config:
            found = list(_of_section(config[section], section, cls))
            name = f"{section}.learner"
            if name in OTHERS:
                found.insert(0, _field(name, config[section].learner, str, OTHERS[name]))
            yield section, fields.summary(cls), found


def absent(config: ml_collections.ConfigDict) -> list[tuple[str, str]]:
    """Name and summary of each section that the config may have, but has not."""
    optional = sections.OPTIONAL[config.task]
    return [(name, fields.summary(cls)) for name, cls in optional.items() if name not in config]


def _of_section(values: ml_collections.ConfigDict, where: str, cls: type) -> Iterator[Field]:
    hints, meanings = typing.get_type_hints(cls), fields.meanings(cls)
    for field in dataclasses.fields(cls):
        name, hint = f"{where}.{field.name}", hints[field.name]
        if (where, field.name) in sections.TAKEN_FROM:
            continue
        if dataclasses.is_dataclass(hint):
            yield from _of_section(values[field.name], name, hint)
        else:
            yield _field(name, values.get(field.name), hint, meanings.get(field.name, ""))


def _field(name: str, value: Any, hint: Any, meaning: str) -> Field:
    if name in CHOICES:
        kind = ", ".join(_written(choice) for choice in CHOICES[name])
    else:
        kind = _kind(hint)
    return Field(name, value, kind, meaning)


def _kind(hint: Any) -> str:
    """A type in words: those of which configs are made."""
    options = typing.get_args(hint)
    if typing.get_origin(hint) is tuple:
        count = "" if Ellipsis in options else f"{len(options)} "
        return f"{count}{KINDS[options[0]]}s"
    if options:  # one, or one for each step
        return f"{_kind(options[0])}, or one for each step"
    return KINDS[hint]


def written(value: Any) -> str:
    """A value as it is set on the command line."""
    if isinstance(value, list | tuple):
        return f"({','.join(map(written, value))})"
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else _written(value)


def _written(value: Any) -> str:
    return repr(value) if value == "" else str(value)
