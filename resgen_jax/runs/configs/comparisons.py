"""A comparison's config file: methods trained alike on the same codes, and how to measure them."""

import dataclasses
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import ml_collections

from resgen_jax.core import build, errors
from resgen_jax.core.shell import Overrides
from resgen_jax.io import paths
from resgen_jax.runs.configs import config_files, configuration, sections, studies

EXAMPLE = "comparisons/cifar10.py"


@dataclasses.dataclass(frozen=True)
class Spec:
    """What all methods have alike, and how their samples are measured."""

    codes: str = ""  # the directory that `resgen encode` wrote
    seeds: tuple[int, ...] = (0,)  # of training
    num_samples: int = 2000  # of each point
    num_reference: int = 10_000  # training images that they are compared with; 0 = all
    sampling_seeds: tuple[int, ...] = (0,)
    batch_size: int = 250  # samples a time, for all alike

    def __post_init__(self):
        build.check_sizes(self, ("num_samples", "batch_size"))
        build.check_sizes(self, ("num_reference",), least=0)
        for name in ("seeds", "sampling_seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                raise errors.UserError(f"{name} is {values}; expected one or more, none twice")


class Member(NamedTuple):
    """One method with one seed of training."""

    method: str
    seed: int
    config: Any  # frozen

    @property
    def name(self) -> str:
        """Of its run directory."""
        return f"{self.method}_seed{self.seed}"


class Comparison(NamedTuple):
    """Its runs, those of the first seed first, and the sampler's settings to measure each at."""

    spec: Spec
    members: list[Member]
    grids: Mapping[str, Mapping[str, list[Any]]]  # by method, of each setting its values


def load(text: str, overrides: Overrides = ()) -> ml_collections.ConfigDict:
    """The comparison of `--config=FILE[:words]`.

    `methods` holds, by name, a config file, the `fields` that it sets anew, and the settings of the
    sampler to `sweep` over; `fields` beside it are those that all methods set. Raises UserError.
    """
    config = config_files.read(text)
    if "methods" not in config or not config.methods:
        raise errors.UserError(f"{text} is no comparison (it has no methods); {EXAMPLE} is one")
    for field, value in overrides:
        configuration.override(config, field, value)
    return config


def expand(config: ml_collections.ConfigDict) -> Comparison:
    """The runs of a comparison; UserError for a field that a method's config does not have."""
    fields = config.to_dict()
    methods, shared = fields.pop("methods"), fields.pop("fields", {})
    spec = build.build(Spec, fields, "comparison")
    if not spec.codes:
        raise errors.UserError(
            "codes is empty; write codes with `resgen encode --workdir=TOKENIZER_RUN "
            "--output=DIR` and name them: --config.codes=DIR"
        )
    made = {
        name: _config(name, method, shared, str(paths.absolute(spec.codes)))
        for name, method in methods.items()
    }
    members = [
        Member(name, seed, sections.freeze(_with_seed(each, seed)))
        for seed in spec.seeds
        for name, each in made.items()
    ]
    grids = {name: _grid(name, method.get("sweep", {})) for name, method in methods.items()}
    return Comparison(spec, members, grids)


def folder(workdir: str | os.PathLike, member: Member) -> paths.Path:
    """The run directory of one of its runs."""
    return paths.of(workdir) / "runs" / member.name


def _config(
    name: str, method: Mapping[str, Any], shared: Mapping[str, Any], codes: str
) -> ml_collections.ConfigDict:
    where = f"methods.{name}"
    if unknown := sorted(set(method) - {"config", "fields", "sweep"}):
        hint = build.nearest(unknown[0], ("config", "fields", "sweep"))
        raise errors.UserError(f"{where} has no field {unknown[0]!r}; {hint}")
    if not isinstance(method.get("config"), str):
        raise errors.UserError(f"{where}.config is missing; expected a config file of a generator")
    config = ml_collections.ConfigDict(configuration.load_fields(method["config"]).to_dict())
    studies.set_fields(config, shared, "fields")
    studies.set_fields(config, method.get("fields", {}), f"{where}.fields")
    if "codes" not in config.data:
        raise errors.UserError(f"{where}.config is {method['config']!r}, which trains on no codes")
    config.data.codes = codes
    return config


def _with_seed(config: ml_collections.ConfigDict, seed: int) -> ml_collections.ConfigDict:
    changed = ml_collections.ConfigDict(config.to_dict())
    changed.seed = seed
    return changed


def _grid(name: str, sweep: Mapping[str, Any]) -> dict[str, list[Any]]:
    for setting, values in sweep.items():
        if not isinstance(values, list | tuple) or not values:
            raise errors.UserError(
                f"methods.{name}.sweep.{setting} is {values!r}; expected a list of values"
            )
    return {setting: list(values) for setting, values in sweep.items()}
