"""Opens files as verbs do, as far as that goes without training: what fuzzes of files call.

Each takes a path, reads all that is there, and gives back what warnings it made on the way.
"""

import dataclasses
import functools
import os
import pathlib

import jax
import tiny_features
import valid_files

import resgen_jax
from resgen_jax.convert import torch_files
from resgen_jax.core import errors
from resgen_jax.data import codes, images, sources
from resgen_jax.evaluation import reference, samples
from resgen_jax.io import locks, paths
from resgen_jax.runs import experiments, open_run
from resgen_jax.runs.configs import configuration
from resgen_jax.runs.demo import phases
from resgen_jax.runtime import mesh as meshes
from resgen_jax.training import placement
from resgen_jax.training.checkpoints import checkpoint, local_checkpoints
from resgen_jax.training.telemetry import heartbeat, sinks, writer

SPEC = sources.Spec("folder", image_size=64, channels=3, batch_size=2, min_classes=1)


@functools.cache
def extractor():
    """The network that statistics have to be of."""
    mesh = meshes.make(meshes.Spec(1, 1, 1), jax.devices()[:1])
    return tiny_features.extractor(mesh, name="toy", num_features=valid_files.NUM_FEATURES)


def weights(path):
    """Every section, as `resgen convert` looks for the one it wants."""
    for section in torch_files.sections(path):
        for array in torch_files.read(path, section).values():
            float(abs(array[..., :1]).sum()) if array.ndim else array.item()


def picture(path):
    """As training reads it, and as `resgen evaluate --samples=FOLDER` does."""
    failures = []
    for read in (lambda: images.read(path, 64, 3), lambda: samples.FileImages([path])):
        try:
            read()
        except errors.UserError as failure:
            failures.append(failure)
    if failures:
        raise failures[0]


def image_array(path):
    """Samples that are measured."""
    found = samples.open_images(os.fspath(path))
    samples.sampler_of(os.fspath(path))
    _all_of(found)


def statistics(path):
    """What samples are compared with."""
    reference.read(path, extractor())
    reference.images_in(path)


def image_files(source):
    """A reader of all images that a folder of tars, tables or shards holds."""

    def read(path):
        dataset = sources.open_images(dataclasses.replace(SPEC, source=source, path=str(path)))
        dataset.train.fingerprint()
        _all_of(dataset.train)
        _all_of(dataset.held_out)

    return read


tars, tables, shards = map(image_files, ("tar", "parquet", "array_record"))


def codes_directory(path):
    """Every record of a codes directory."""
    dataset = codes.read(path)
    _all_of(dataset.train)
    _all_of(dataset.held_out)


def tokenizer(path):
    """As `resgen encode`, `reconstruct` and `evaluate` open a run or an export."""
    return _noted(lambda note: open_run.open_tokenizer(path, note))


def generator(path):
    """As `resgen sample` opens one, with the codes it names."""

    def read(note):
        found = open_run.open_generator(path, note)
        if not (path / "model.safetensors").is_file():
            open_run.codes_of(found, None)

    return _noted(read)


def pretrained(path):
    """As users of Python open an export."""
    repr(resgen_jax.from_pretrained(path))


def resumed(path):
    """As `resgen train` goes on with a run, up to the first step."""

    def read(note):
        is_generator = (path / "codes").is_dir()
        more = [("data.codes", os.fspath(path / "codes"))] if is_generator else []
        config = configuration.load(os.fspath(path / "config.py"), more)
        local = path.parent / "local"
        local_checkpoints._folder(os.fspath(local), path)
        experiment = experiments.open_experiment(config, path, note)
        facts = {"task": experiment.task.name, "seed": config.seed}
        abstract = placement.abstract_state(experiment.mesh, experiment.task)
        with checkpoint.Checkpoints(path, facts=facts) as checkpoints:
            state = checkpoints.restore(abstract, experiment.iterator, note)
        next(experiment.iterator)
        jax.block_until_ready(state)
        writer.Writer(path, restored_step=2, warn=note).close()

    return _noted(read)


def notes_of_runs(path):
    """The small files beside a run, which are looked at and made anew where they are damaged."""
    writer.read(path)
    heartbeat.read(paths.of(path), 0)
    codes.plan_of(paths.of(path))
    phases.Phases(path / "phases.json").all()
    sinks._wandb_id(paths.of(path))
    sinks._config_of(paths.of(path))
    locks._locks(paths.of(path) / "lock")
    [lock.holder() for lock in locks._locks(paths.of(path) / "lock")]
    local = pathlib.Path(path) / "fast"
    folder = local_checkpoints._folder(os.fspath(local), path)
    if pathlib.Path(os.path.abspath(folder)).parent != local:
        raise RuntimeError(f"local checkpoints would lie in {folder}")


def _all_of(source):
    for index in range(len(source)):
        source[index]


def _noted(read):
    """Calls with a `note`, whose messages are given back."""
    notes = []
    read(notes.append)
    return notes
