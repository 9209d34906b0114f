"""From a config to what the training loop takes: task, mesh and data."""

import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
from jax.sharding import Mesh

from resgen_jax import recipes
from resgen_jax.data import pipeline, sources, spread, stream
from resgen_jax.io import paths
from resgen_jax.recipes import interface
from resgen_jax.runs import consensus, run_data, starting_point
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import programs
from resgen_jax.training.checkpoints import beginning
from resgen_jax.training.state import Task

Note = Callable[[str], None]


class Experiment(NamedTuple):
    """All that the training loop is given."""

    mesh: Mesh
    model: Any  # the tokenizer or generator that the task trains
    task: Task
    iterator: Any  # endless batches, with `get_state` and `set_state`
    held_out: Callable[[int], Iterator[pipeline.Batch]]  # so many batches, 0 = all
    begin: beginning.Begin = programs.initial_state
    found: str = ""  # which data there are, in one line


def open_experiment(config: Any, workdir: str | os.PathLike, note: Note) -> Experiment:
    """Task, mesh and data of a config, and its run directory begun; `note` hears of bad records.

    Whatever can be wrong with config and data is found here, before anything is compiled.
    """
    recipe, mesh = recipes.find(config.task), mesh_of(config)
    data = recipe.role.open_data(config)
    model = recipe.model(config, data)
    has_begun = starting_point.is_given(config)
    task = recipe.task(config, data, recipe.pretrained(config), has_begun=has_begun)
    workdir = paths.of(workdir)
    consensus.on_data(
        {f"the {recipe.role.trains_on} ({name})": text for name, text in data.identity.items()}
    )
    begin = starting_point.begin(config, model, task, mesh, workdir, note)
    run_data.start_or_continue(workdir, config, recipe.role, data)
    iterator = train_iterator(config, data.train, mesh, note)
    _say_held_out(config, data, note)
    held_out = _held_out(data.held_out, config.data, mesh)
    return Experiment(mesh, model, task, iterator, held_out, begin, data.found)


def mesh_of(config: Any) -> Mesh:
    """The mesh of a config, over which its batch divides."""
    mesh = meshes.make(config.mesh)
    meshes.check_batch_size(mesh, config.data.batch_size, config.optimizer.num_microbatches)
    return mesh


class Assumed(NamedTuple):
    """A config's model and task, with as much of its data as can be known without reading them."""

    recipe: interface.Recipe
    model: Any
    task: Task


def assumed(config: Any, pretrained: Any = None) -> Assumed:
    """Model and task of a config, to be counted or timed; the data need not be there."""
    recipe = recipes.find(config.task)
    data = recipe.role.assumed(config)
    has_begun = starting_point.is_given(config)
    task = recipe.task(config, data, pretrained, has_begun=has_begun)
    return Assumed(recipe, recipe.model(config, data), task)


def open_source(config: Any) -> sources.Source:
    """What a config trains on, whatever it is."""
    return recipes.find(config.task).role.open_data(config).train


def train_iterator(
    config: Any,
    source: sources.Source,
    mesh: Mesh,
    note: Note,
    num_threads: int | None = None,
) -> stream.Batches:
    """This process's rows of a config's batches; with other threads than it says, if given."""
    spec = config.data
    return pipeline.train_iterator(
        source,
        batch_size=spec.batch_size,
        seed=config.seed,
        num_threads=spec.num_threads if num_threads is None else num_threads,
        rows=meshes.rows_here(mesh, spec.batch_size),
        **recipes.find(config.task).role.reading(config, note),
    )


def _held_out(
    source: sources.Source, spec: Any, mesh: Mesh
) -> Callable[[int], Iterator[pipeline.Batch]]:
    """So many batches of records spread over all of the source, which may lie class by class."""

    def batches(num_batches: int) -> Iterator[pipeline.Batch]:
        count = num_batches * spec.batch_size or len(source)
        return pipeline.epoch(
            spread.Spread(source, count),
            batch_size=spec.batch_size,
            num_threads=spec.num_threads,
            rows=meshes.rows_here(mesh, spec.batch_size),
        )

    return batches


def _say_held_out(config: Any, data: interface.Data, note: Note) -> None:
    """Tells how many records, of how many classes, held-out figures are of, where not of all."""
    count = config.train.num_held_out_batches * config.data.batch_size
    if 0 < count < len(data.held_out) and jax.process_index() == 0:
        chosen = spread.Spread(data.held_out, count)
        note(f"held-out figures while training: {chosen.describe(data.num_classes)}")
