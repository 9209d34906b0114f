"""Training on noise of the right shapes, to measure speed where no data are."""

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from jax.sharding import Mesh

from resgen_jax import recipes
from resgen_jax.data import pipeline
from resgen_jax.runs import experiments, run_directory
from resgen_jax.runtime import mesh as meshes

NUM_BATCHES, NUM_HELD_OUT = 4, 2


def open_experiment(config: Any, workdir: str | os.PathLike) -> experiments.Experiment:
    """What `experiments.open_experiment` gives, with neither data nor weights on the disk.

    A generator's config needs the section `space`, or codes, to know the sizes.
    """
    mesh, found = experiments.mesh_of(config), assumed(config)
    run_directory.start_or_continue(workdir, config)
    made = [rows(found, mesh, config.data.batch_size, seed) for seed in range(NUM_BATCHES)]
    return experiments.Experiment(
        mesh, found.model, found.task, Batches(made), lambda count: _held_out(made)
    )


def assumed(config: Any) -> experiments.Assumed:
    """Model and task of a config; the networks that it takes from elsewhere have random weights."""
    return experiments.assumed(config, recipes.find(config.task).random_pretrained(config))


def rows(found: experiments.Assumed, mesh: Mesh, batch_size: int, seed: int = 0) -> pipeline.Batch:
    """This process's rows of a batch of noise."""
    random, here = np.random.default_rng(seed), meshes.rows_here(mesh, batch_size)
    role = found.recipe.role
    ends = role.ends(found.model)
    batch = {"index": np.arange(batch_size, dtype=np.int32)[here]}
    for name, one in role.example(found.model).items():
        if name in ends:
            # The same in every process, which may hold the same rows.
            drawn = random.integers(0, ends[name], (batch_size, *one.shape), dtype=one.dtype)
            batch[name] = drawn[here]
    return batch


class Batches:
    """The same few batches again and again: the host has nothing to do for them."""

    def __init__(self, batches: list[pipeline.Batch]):
        self._batches, self._drawn = batches, 0

    def __next__(self) -> pipeline.Batch:
        self._drawn += 1
        return self._batches[self._drawn % len(self._batches)]

    def get_state(self) -> dict[str, Any]:
        """How many batches were drawn."""
        return {"drawn": self._drawn}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self._drawn = state["drawn"]


def _held_out(made: list[pipeline.Batch]) -> Iterator[pipeline.Batch]:
    for batch in made[:NUM_HELD_OUT]:
        yield batch | {"is_valid": np.ones(len(batch["index"]), bool)}
