"""A study's config file: a base config, sizes and budgets, read into the configs of its runs."""

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import ml_collections

from resgen_jax import recipes
from resgen_jax.core import build, errors, trees
from resgen_jax.core.shell import Overrides
from resgen_jax.io import paths
from resgen_jax.runs import experiments
from resgen_jax.runs.configs import config_files, configuration, sections
from resgen_jax.scaling.laws import study

RUNS, FILE = "runs", "study.json"
EXAMPLE = "scaling/resgen_digits.py"


class Study(NamedTuple):
    """The runs of a study, cheapest first, and the config that each trains."""

    spec: study.Spec
    runs: list[study.Run]
    configs: dict[str, Any]  # frozen, by the run's name


def load(text: str, overrides: Overrides = ()) -> ml_collections.ConfigDict:
    """The study of `--config=FILE[:words]`; its `base` becomes the base's whole config.

    `base` names a config file, `fields` holds what every run sets beside it, and `sizes` what each
    size sets; both are nested as the base is. Fields of the base are set by --config.base.any.field
    and, as on every config, only those that are there. Raises UserError.
    """
    config = config_files.read(text)
    if "sizes" not in config or "base" not in config:
        raise errors.UserError(
            f"{text} is no scaling study (it has no base and sizes); {EXAMPLE} is one"
        )
    base = configuration.load_fields(config.base).to_dict()
    config = ml_collections.ConfigDict({**config.to_dict(), "base": base})
    set_fields(config.base, config.to_dict().get("fields", {}), "fields")
    for field, value in overrides:
        configuration.override(config, field, value)
    configuration.make_paths_absolute(config.base)
    for name in config.sizes:
        _of_size(config, name)  # raises for a field that is not there
    return config


def expand(config: ml_collections.ConfigDict) -> Study:
    """The runs of a study; sizes are counted from shapes alone."""
    known = ("base", "fields", "sizes")
    plain = {name: value for name, value in config.to_dict().items() if name not in known}
    spec = build.build(study.Spec, plain, "study")
    by_size = {name: _of_size(config, name) for name in config.sizes}
    runs = study.expand(spec, [_size(name, each) for name, each in by_size.items()])
    configs = {run.name: _of_run(by_size[run.size.name], run) for run in runs}
    return Study(spec, runs, configs)


def folder(workdir: str | os.PathLike, run: study.Run) -> paths.Path:
    """The run directory of a run."""
    return paths.of(workdir) / RUNS / run.name


def _of_size(config: ml_collections.ConfigDict, name: str) -> ml_collections.ConfigDict:
    changed = ml_collections.ConfigDict(config.base.to_dict())
    set_fields(changed, config.sizes[name].to_dict(), f"sizes.{name}")
    return changed


def _of_run(config: ml_collections.ConfigDict, run: study.Run) -> Any:
    """Its own number of steps, so that its learning rate has come down when it is measured."""
    changed = ml_collections.ConfigDict(config.to_dict())
    changed.seed, changed.train.num_steps = run.seed, run.num_steps
    warmup = changed.optimizer.warmup_steps
    if warmup > run.num_steps:
        raise errors.UserError(
            f"the run {run.name} has {run.num_steps} steps, fewer than optimizer.warmup_steps "
            f"{warmup}; raise its budget or set --config.base.optimizer.warmup_steps lower"
        )
    return sections.freeze(changed)


def _size(name: str, config: ml_collections.ConfigDict) -> study.Size:
    # Whether the warm-up fits is asked of each run's own steps, not of the base's.
    config = ml_collections.ConfigDict(config.to_dict())
    config.optimizer.warmup_steps = 0
    frozen = sections.freeze(config)
    task, auxiliary = experiments.assumed(frozen).task, recipes.find(frozen.task).auxiliary
    params = jax.eval_shape(task.init, jax.random.key(0)).params
    model = {part: tree for part, tree in params.items() if part not in auxiliary}
    num_parameters = trees.num_parameters(model)
    return study.Size(name, num_parameters, task.flops_per_example(), config.data.batch_size)


def set_fields(config: ml_collections.ConfigDict, fields: Mapping[str, Any], where: str) -> None:
    """Sets nested fields that are there already; UserError, naming the nearest, for others."""
    for name, value in fields.items():
        if name not in config:
            raise errors.UserError(f"{where} has no field {name!r}; {build.nearest(name, config)}")
        here, there = f"{where}.{name}", config[name]
        is_section = isinstance(there, ml_collections.ConfigDict)
        if is_section != isinstance(value, Mapping):
            kind = "a section with fields" if is_section else f"a value such as {there!r}"
            raise errors.UserError(f"{here} is {value!r}; expected {kind}")
        if is_section:
            set_fields(there, value, here)
            continue
        try:
            config[name] = value
        except TypeError as failure:
            raise errors.UserError(
                f"{here} is {value!r}; expected {type(there).__name__} such as {there!r}"
            ) from failure
