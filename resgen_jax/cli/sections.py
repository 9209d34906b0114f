"""Which dataclass each section of a config is, and the defaults of what a config leaves out."""

import dataclasses
import typing
from typing import Any

import ml_collections

from resgen_jax.core import build, checked, errors
from resgen_jax.data import sources
from resgen_jax.evaluation import online
from resgen_jax.generators import interface, resgen, resgen_sampler
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.runtime import mesh as meshes
from resgen_jax.tokenizers import rq_vae
from resgen_jax.training import adversary, loop, optimizer, resgen_loss, rq_vae_loss


@dataclasses.dataclass(frozen=True)
class CodesSpec:
    """The data section of a generator's config."""

    batch_size: int  # examples of a training step, of all processes together
    codes: str = ""  # the directory that `resgen encode` wrote
    num_threads: int = 0  # that read codes, in each process; 0 = none but the training's own

    def __post_init__(self):
        build.check_sizes(self, ("batch_size",))
        build.check_sizes(self, ("num_threads",), least=0, most=sources.MOST_THREADS)


SHARED = {
    "optimizer": optimizer.Spec,
    "mesh": meshes.Spec,
    "train": loop.Spec,
    "evaluation": online.Spec,
}
SECTIONS: dict[str, dict[str, type]] = {
    "rq_vae": {
        "data": sources.Spec,
        "model": rq_vae.Spec,
        "quantizer": quantizers.Spec,
        "loss": rq_vae_loss.LossSpec,
        **SHARED,
    },
    "resgen": {
        "data": CodesSpec,
        "model": resgen.Spec,
        "loss": resgen_loss.LossSpec,
        "sampler": resgen_sampler.Spec,
        **SHARED,
    },
}
# Sections that a config may have or not.
OPTIONAL: dict[str, dict[str, type]] = {
    "rq_vae": {"adversarial": adversary.Spec},
    "resgen": {"space": interface.CodeSpace},
}
# Fields that are not set, because another one says the same.
TAKEN_FROM = {
    ("model", "image_size"): "data.image_size",
    ("model", "channels"): "data.channels",
    ("quantizer", "code_dim"): "model.code_dim",
}


@dataclasses.dataclass(frozen=True)
class Scalars:
    """What a config holds beside its sections."""

    task: str
    seed: int = 0
    source: str = ""  # the config file
    synthetic_data: bool = False

    def __post_init__(self):
        checked.seed(self.seed, "config.seed")


SCALARS = tuple(field.name for field in dataclasses.fields(Scalars))
DEFAULT_LEARNER = "ema"


def complete(config: ml_collections.ConfigDict) -> None:
    """Adds what the config leaves out, so that it says all and every field can be set.

    Raises UserError for an unknown task or section, naming the nearest.
    """
    sections = _sections_of(config)
    with config.unlocked():
        config.seed = config.get("seed", 0)
        for section, cls in sections.items():
            if section not in config:
                config[section] = ml_collections.ConfigDict()
            if not isinstance(config[section], ml_collections.ConfigDict):
                raise errors.UserError(
                    f"config.{section} is {config[section]!r}; expected the fields of a section"
                )
            _fill(config[section], section, cls)
        if "quantizer" in sections:
            config.quantizer.learner = config.quantizer.get("learner", DEFAULT_LEARNER)


def _sections_of(config: ml_collections.ConfigDict) -> dict[str, type]:
    """The sections of a config's task that it has to have, and those of the others that it has."""
    name = config.get("task", "")
    if not isinstance(name, str) or name not in SECTIONS:
        known = ", ".join(repr(task) for task in SECTIONS)
        raise errors.UserError(f"config.task is {name!r}; expected one of {known}")
    optional = {section: cls for section, cls in OPTIONAL[name].items() if section in config}
    sections = SECTIONS[name] | optional
    for field in config:
        if field not in sections and field not in SCALARS:
            hint = build.nearest(str(field), [*SECTIONS[name], *OPTIONAL[name], *SCALARS])
            raise errors.UserError(f"the config has a section {field!r}; {hint}")
    return sections


def check(config: ml_collections.ConfigDict) -> None:
    """Raises UserError for a field of a complete config that is not what it has to be."""
    for section in _sections_of(config):
        if section not in config:
            raise errors.UserError(f"the config lacks the section {section!r}")
        read(config, section)
    scalars = {name: config[name] for name in SCALARS if name in config}
    build.build(Scalars, scalars, "config")


def read(config: ml_collections.ConfigDict, section: str) -> Any:
    """A section as its dataclass; fields that come from elsewhere are taken from there.

    Raises UserError for what the section cannot be.
    """
    cls = (SECTIONS[config.task] | OPTIONAL[config.task])[section]
    fields = config[section].to_dict()
    for (where, name), origin in TAKEN_FROM.items():
        if where == section and name in {field.name for field in dataclasses.fields(cls)}:
            if name in fields:
                raise errors.UserError(f"{section}.{name} is taken from {origin}; set that instead")
            elsewhere, _, field = origin.partition(".")
            if field not in config[elsewhere]:
                raise errors.UserError(f"{elsewhere} lacks the field {field!r}")
            fields[name] = config[elsewhere][field]
    if section == "quantizer":
        learner = fields.pop("learner", None)
        if not isinstance(learner, str) or learner not in quantizers.LEARNERS:
            hint = build.nearest(str(learner), quantizers.LEARNERS)
            raise errors.UserError(f"quantizer.learner is {learner!r}; {hint}")
    return build.build(cls, fields, section)


def number_per_step(config: ml_collections.ConfigDict, field: str) -> type | None:
    """int or float where `field`, written a.b, takes one number or one for each step."""
    known: Any = SECTIONS.get(config.get("task"), {})
    section, *names = field.split(".")
    hint = known.get(section)
    for name in names:
        hint = typing.get_type_hints(hint).get(name) if dataclasses.is_dataclass(hint) else None
    options = typing.get_args(hint)
    is_per_step = len(options) == 2 and typing.get_origin(options[1]) is tuple
    return options[0] if is_per_step else None


def _fill(fields: ml_collections.ConfigDict, where: str, cls: type) -> None:
    """Defaults of the dataclass where a field is missing; whole numbers become floats by type."""
    hints = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        if (where, field.name) in TAKEN_FROM and field.name not in fields:
            continue
        if dataclasses.is_dataclass(hints[field.name]):
            if field.name not in fields:
                fields[field.name] = ml_collections.ConfigDict()
            if dataclasses.is_dataclass(field.default):
                for name, value in dataclasses.asdict(field.default).items():
                    fields[field.name][name] = fields[field.name].get(name, value)
            _fill(fields[field.name], f"{where}.{field.name}", hints[field.name])
        elif field.name not in fields:
            if field.default is not dataclasses.MISSING:
                fields[field.name] = field.default
        elif _is_float(hints[field.name]) and type(fields[field.name]) is int:
            value = float(fields[field.name])
            del fields[field.name]  # a ConfigDict field keeps its type
            fields[field.name] = value


def _is_float(hint: Any) -> bool:
    return hint is float or float in typing.get_args(hint)
