"""Training on noise of the right shapes, to measure speed where no data are."""

import os
from collections.abc import Iterator
from typing import Any

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh

from resgen_jax.cli import experiments, run_directory
from resgen_jax.data import pipeline
from resgen_jax.features import lpips
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import resgen_task, rq_vae_task

NUM_BATCHES, NUM_HELD_OUT = 4, 2
Task = rq_vae_task.RqVaeTask | resgen_task.ResGenTask


def open_experiment(
    config: ml_collections.ConfigDict, workdir: str | os.PathLike
) -> experiments.Experiment:
    """What `experiments.open_experiment` gives, with neither data nor weights on the disk.

    A generator's config needs the section `space`, or codes, to know the sizes.
    """
    mesh, task = experiments.mesh_of(config), task_of(config)
    run_directory.start_or_continue(workdir, config)
    made = [rows(task, mesh, config.data.batch_size, seed) for seed in range(NUM_BATCHES)]
    return experiments.Experiment(mesh, task, Batches(made), lambda count: _held_out(made))


def task_of(config: ml_collections.ConfigDict) -> Task:
    """The task of a config; the networks that it takes from elsewhere have random weights."""
    params = None
    if config.task == "rq_vae" and config.loss.perceptual:
        params = lpips.make(config.loss.perceptual).init(jax.random.key(0))
    return experiments.task_of(config, params)


def rows(task: Task, mesh: Mesh, batch_size: int, seed: int = 0) -> pipeline.Batch:
    """This process's rows of a batch of noise."""
    random, here = np.random.default_rng(seed), meshes.rows_here(mesh, batch_size)
    if isinstance(task, rq_vae_task.RqVaeTask):
        ends = {"images": 256}
    else:
        ends = {"codes": task.space.codebook_size, "labels": task.space.num_classes}
    batch = {"index": np.arange(batch_size, dtype=np.int32)[here]}
    for name, one in experiments.example_of(task).items():
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
        """Where it stands."""
        return {"drawn": self._drawn}

    def set_state(self, state: dict[str, Any]) -> None:
        """Goes on from there."""
        self._drawn = state["drawn"]


def _held_out(made: list[pipeline.Batch]) -> Iterator[pipeline.Batch]:
    for batch in made[:NUM_HELD_OUT]:
        yield batch | {"is_valid": np.ones(len(batch["index"]), bool)}
