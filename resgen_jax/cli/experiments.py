"""From a config to what the training loop takes: task, mesh and data."""

import dataclasses
import os
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import ml_collections
import numpy as np
from jax.sharding import Mesh

from resgen_jax.cli import run_data, sections, starting_point
from resgen_jax.convert import weights
from resgen_jax.core import errors
from resgen_jax.data import codes, pipeline, sources, spread, stream
from resgen_jax.generators import choices, interface, resgen_sampler
from resgen_jax.io import paths
from resgen_jax.quantizers import interface as quantizers
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import programs, resgen_task, rq_vae_task
from resgen_jax.training.checkpoints import beginning

CODES_FILE = "codes.json"
Note = Callable[[str], None]


class Experiment(NamedTuple):
    """All that the training loop is given."""

    mesh: Mesh
    task: Any
    iterator: stream.Batches
    held_out: Callable[[int], Iterator[pipeline.Batch]]  # so many batches, 0 = all
    begin: beginning.Begin = programs.initial_state
    found: str = ""  # which images there are, in one line


def open_experiment(
    config: ml_collections.ConfigDict, workdir: str | os.PathLike, note: Note
) -> Experiment:
    """Task, mesh and data of a config, and its run directory begun; `note` hears of bad images.

    Whatever can be wrong with config and data is found here, before anything is compiled.
    """
    mesh = mesh_of(config)
    open_data = {"rq_vae": _open_images, "resgen": _open_codes}[config.task]
    return Experiment(mesh, *open_data(config, mesh, paths.of(workdir), note))


def mesh_of(config: ml_collections.ConfigDict) -> Mesh:
    """The mesh of a config, over which its batch divides."""
    mesh = meshes.make(sections.read(config, "mesh"))
    num_microbatches = sections.read(config, "optimizer").num_microbatches
    meshes.check_batch_size(mesh, config.data.batch_size, num_microbatches)
    return mesh


def tokenizer_task(
    config: ml_collections.ConfigDict, perceptual_params: Any = None
) -> rq_vae_task.RqVaeTask:
    """The tokenizer's task; the data say the images' sizes, the model that of the vectors.

    Without `perceptual_params` it is for a state that is restored, not begun.
    """
    quantizer = sections.read(config, "quantizer")
    has_adversary = "adversarial" in config
    return rq_vae_task.RqVaeTask(
        sections.read(config, "model"),
        quantizer,
        quantizers.make(config.quantizer.learner, quantizer),
        sections.read(config, "loss"),
        sections.read(config, "optimizer"),
        sections.read(config, "train").num_steps,
        sections.read(config, "adversarial") if has_adversary else None,
        perceptual_params,
        rq_vae_task.HAVE_BEGUN if starting_point.is_given(config) else None,
    )


def _perceptual_params(config: ml_collections.ConfigDict) -> Any:
    """The weights of the perceptual loss, or None where the config has none."""
    if not config.loss.perceptual:
        return None
    return weights.load_lpips(config.loss.perceptual, config.loss.weights)[1]


def generator_task(
    config: ml_collections.ConfigDict, meta: codes.Meta, codebooks: np.ndarray | None = None
) -> resgen_task.ResGenTask:
    """The generator's task; without `codebooks` for a state that is restored, not begun."""
    space = space_of(meta)
    if "space" in config:
        _check_space(space, sections.read(config, "space"))
    if codebooks is None:
        codebooks = np.zeros((space.depth, space.codebook_size, space.code_dim), np.float32)
    # Refused now rather than after training.
    sampler = sections.read(config, "sampler")
    resgen_sampler.plan(sampler, space.num_tokens)
    task = resgen_task.ResGenTask(
        sections.read(config, "model"),
        sections.read(config, "loss"),
        sections.read(config, "optimizer"),
        sections.read(config, "train").num_steps,
        space,
        codebooks,
    )
    check_sampler(task, sampler)
    return task


def check_sampler(task: resgen_task.ResGenTask, sampler: resgen_sampler.Spec) -> None:
    """Raises UserError for a sampler that asks what the task does not teach."""
    has_code_head = task.loss.code_loss_weight > 0
    choices.check_heads(sampler.choices, has_code_head=has_code_head)
    if sampler.masks != task.loss.masks:
        raise errors.UserError(
            f"sampler.masks is {sampler.masks!r} but loss.masks {task.loss.masks!r}; a model knows "
            "only the masks it was trained with: set both alike"
        )


def task_of(
    config: ml_collections.ConfigDict, perceptual_params: Any = None
) -> rq_vae_task.RqVaeTask | resgen_task.ResGenTask:
    """The task of a config, to be counted or timed on made-up data; the codes need not be there."""
    if config.task == "rq_vae":
        return tokenizer_task(config, perceptual_params)
    if config.data.codes:
        return generator_task(config, codes.read(config.data.codes).meta)
    if "space" not in config:
        raise errors.UserError(
            "the sizes of the codes are not known from this config; give the codes with "
            "--config.data.codes=DIR, or use one with a section `space`"
        )
    space = sections.read(config, "space")
    names = tuple(str(label) for label in range(space.num_classes))
    sizes = (space.grid, space.depth, space.codebook_size, space.code_dim)
    return generator_task(config, codes.Meta(*sizes, image_size=1, channels=1, class_names=names))


def example_of(task: rq_vae_task.RqVaeTask | resgen_task.ResGenTask) -> dict[str, Any]:
    """Shapes and types of one example of a training batch, abstract."""
    index = {"index": jax.ShapeDtypeStruct((), np.int32)}
    if isinstance(task, rq_vae_task.RqVaeTask):
        door = task.tokenizer
        shape = (door.image_size, door.image_size, door.channels)
        return index | {"images": jax.ShapeDtypeStruct(shape, np.uint8)}
    shape = (task.space.length, task.space.depth)
    return index | {
        "codes": jax.ShapeDtypeStruct(shape, np.int32),
        "labels": jax.ShapeDtypeStruct((), np.int32),
    }


def _check_space(space: interface.CodeSpace, wanted: interface.CodeSpace) -> None:
    """Raises UserError where the codes do not have the sizes that the config was made for."""
    differing = [
        f"{name} {value}, this config is for {getattr(wanted, name)}"
        for name, value in dataclasses.asdict(space).items()
        if value != getattr(wanted, name)
    ]
    if differing:
        raise errors.UserError(
            f"the codes have {'; '.join(differing)}; encode with a tokenizer of those sizes, or "
            f"set config.space to the sizes of the codes"
        )


def space_of(meta: codes.Meta) -> interface.CodeSpace:
    """The sizes of some codes, as a generator needs them."""
    return interface.CodeSpace(
        grid=meta.grid,
        depth=meta.depth,
        codebook_size=meta.codebook_size,
        code_dim=meta.code_dim,
        num_classes=len(meta.class_names),
        num_beams=meta.num_beams,
    )


def open_source(config: ml_collections.ConfigDict) -> sources.Source:
    """What a config trains on, whatever it is."""
    if config.task == "rq_vae":
        return sources.open_images(sections.read(config, "data")).train
    return read_codes(config).train


def train_iterator(
    config: ml_collections.ConfigDict,
    source: sources.Source,
    mesh: Mesh,
    note: Note,
    num_threads: int | None = None,
) -> stream.Batches:
    """This process's rows of a config's batches; with other threads than it says, if given."""
    spec = sections.read(config, "data")
    of_images: dict[str, Any] = {}
    if config.task == "rq_vae":  # codes are checked as a whole, and have all views in them
        of_images = {
            "max_unreadable": spec.max_unreadable,
            "on_unreadable": lambda failure: note(f"skipped: {failure}"),
            "augmentation": spec.augmentation,
        }
    return pipeline.train_iterator(
        source,
        batch_size=spec.batch_size,
        seed=config.seed,
        num_threads=spec.num_threads if num_threads is None else num_threads,
        rows=meshes.rows_here(mesh, spec.batch_size),
        **of_images,
    )


def read_codes(config: ml_collections.ConfigDict) -> codes.CodesDataset:
    """The codes that a config names. Raises UserError if it names none."""
    if not config.data.codes:
        raise errors.UserError(
            "data.codes is empty; write codes with `resgen encode --workdir=TOKENIZER_RUN "
            "--output=DIR` and name them: --config.data.codes=DIR"
        )
    return codes.read(config.data.codes)


def _open_images(config, mesh: Mesh, workdir: paths.Path, note: Note):
    spec, task = sections.read(config, "data"), tokenizer_task(config, _perceptual_params(config))
    dataset = sources.open_images(spec)
    begin = starting_point.begin(config, task, mesh, workdir, note)
    found = {"train": dataset.train.fingerprint(), "held_out": dataset.held_out.fingerprint()}
    run_data.start_or_continue_on_images(workdir, config, found)
    iterator = train_iterator(config, dataset.train, mesh, note)
    _say_held_out(config, dataset.held_out, len(dataset.class_names), note)
    return task, iterator, _held_out(dataset.held_out, spec, mesh), begin, dataset.describe()


def _open_codes(config, mesh: Mesh, workdir: paths.Path, note: Note):
    dataset = read_codes(config)
    task = generator_task(config, dataset.meta, dataset.codebooks)
    begin = starting_point.begin(config, task, mesh, workdir, note)
    description = dataclasses.asdict(dataset.meta) | {"sha256": dataset.sha256}
    run_data.start_or_continue_on_codes(workdir, config, CODES_FILE, description)
    iterator = train_iterator(config, dataset.train, mesh, note)
    _say_held_out(config, dataset.held_out, len(dataset.meta.class_names), note)
    return task, iterator, _held_out(dataset.held_out, sections.read(config, "data"), mesh), begin


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


def _say_held_out(config, source: sources.Source, num_classes: int, note: Note) -> None:
    """Tells how many records, of how many classes, held-out figures are of, where not of all."""
    count = sections.read(config, "train").num_held_out_batches * config.data.batch_size
    if 0 < count < len(source) and jax.process_index() == 0:
        chosen = spread.Spread(source, count)
        note(f"held-out figures while training: {chosen.describe(num_classes)}")
