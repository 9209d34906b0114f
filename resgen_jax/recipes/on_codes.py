"""The role of generators: methods that train on cached codes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from resgen_jax.convert import exports
from resgen_jax.core import build, errors, spaces
from resgen_jax.data import codes, sources
from resgen_jax.generators import interface as generators
from resgen_jax.recipes import interface
from resgen_jax.training.state import Task

RECORD_FILE = "codes.json"


@dataclasses.dataclass(frozen=True)
class CodesSpec:
    """The data section of a generator's config."""

    batch_size: int  # examples of a training step, of all processes together
    codes: str = ""  # the directory that `resgen encode` wrote
    num_threads: int = 0  # that read codes, in each process; 0 = none but the training's own

    def __post_init__(self):
        build.check_sizes(self, ("batch_size",))
        build.check_sizes(self, ("num_threads",), least=0, most=sources.MOST_THREADS)


@dataclasses.dataclass(frozen=True)
class SpaceSpec:
    """Sizes of the code grids that a config is for: it takes no codes of others."""

    grid: tuple[int, int]  # rows and columns of positions
    depth: int  # levels: codes of each position
    codebook_size: int  # entries of each level's codebook
    code_dim: int  # channels of their vectors
    num_classes: int  # that an example can have
    num_beams: int = 1  # prefixes kept where a vector is given codes, as in the tokenizer

    def __post_init__(self):
        self.made()  # raises for sizes that no codes have

    def made(self) -> spaces.Space:
        """The space of such codes."""
        return spaces.image_codes(**vars(self))


SECTIONS = {"data": CodesSpec}
OPTIONAL = {"space": SpaceSpec}


def open_data(config: Any) -> interface.Data:
    """The codes that a config names. Raises UserError if it names none, or those of other sizes."""
    if not config.data.codes:
        raise errors.UserError(
            "data.codes is empty; write codes with `resgen encode --workdir=TOKENIZER_RUN "
            "--output=DIR` and name them: --config.data.codes=DIR"
        )
    dataset = codes.read(config.data.codes)
    described = dataset.meta.fields() | {"sha256": dataset.sha256}
    return of_meta(dataset.meta, config)._replace(
        train=dataset.train,
        held_out=dataset.held_out,
        codebooks=dataset.codebooks,
        record=described,
        identity=described["sha256"],
    )


def of_meta(meta: codes.Meta, config: Any = None) -> interface.Data:
    """What is known of codes by their description alone.

    Raises UserError where they have not the sizes that the config, if given, was made for.
    """
    if config is not None and config.space is not None:
        _check_space(meta.space, config.space)
    return _of_space(meta.space)


def assumed(config: Any) -> interface.Data:
    """What a config says of its codes: by those it names, or by its section `space`."""
    if config.data.codes:
        return of_meta(codes.read(config.data.codes).meta, config)
    if config.space is None:
        raise errors.UserError(
            "the sizes of the codes are not known from this config; give the codes with "
            "--config.data.codes=DIR, or use one with a section `space`"
        )
    return _of_space(config.space.made())


def codebooks_of(data: interface.Data) -> np.ndarray:
    """The codebooks of codes; zeros where those are not at hand, for a state to be restored."""
    if data.codebooks is not None:
        return data.codebooks
    return np.zeros(data.space.codes.codebooks_shape, np.float32)


def task_of(cls: Callable[..., Task]) -> Callable[..., Task]:
    """A recipe's `task` out of a class of tasks on codes."""

    def task(
        config: Any, data: interface.Data, pretrained: Any = None, *, has_begun: bool = False
    ) -> Task:
        del pretrained, has_begun  # nothing is taken from elsewhere
        return cls(
            config.model,
            config.loss,
            config.optimizer,
            config.train.num_steps,
            data.space,
            codebooks_of(data),
        )

    return task


def export_as(kind: str) -> Callable[..., exports.Export]:
    """A recipe's `export` of generators of a kind of `convert.pretrained`."""

    def export(
        config: Any, data: interface.Data, tree: Any, fields: Any, codes: Any
    ) -> exports.Export:
        return exports.of_generator(
            kind, config.model, data.space, config.sampler, tree, fields, codes
        )

    return export


def example(generator: generators.Generator) -> dict[str, Any]:
    """Shapes and types of one example of a training batch."""
    shape = (generator.space.max_length, generator.space.codes.depth)
    return {
        "index": jax.ShapeDtypeStruct((), np.int32),
        "codes": jax.ShapeDtypeStruct(shape, np.int32),
        "labels": jax.ShapeDtypeStruct((), np.int32),
    }


def ends(generator: generators.Generator) -> dict[str, int]:
    """What codes and labels are below."""
    return {"codes": generator.space.codes.codebook_size, "labels": generator.space.num_classes}


def _of_space(space: spaces.Space) -> interface.Data:
    return interface.Data((), (), space.num_classes, record={}, identity=None, space=space)


def _check_space(space: spaces.Space, wanted: SpaceSpec) -> None:
    found = spaces.fields_of(space)
    differing = [
        f"{name} {found.get(name)}, this config is for {value}"
        for name, value in vars(wanted).items()
        if value != found.get(name)
    ]
    if differing:
        raise errors.UserError(
            f"the codes have {'; '.join(differing)}; encode with a tokenizer of those sizes, or "
            f"set config.space to the sizes of the codes"
        )


ROLE = interface.Role(
    noun="generator",
    next_verb="sample",
    trains_on="codes",
    record_file=RECORD_FILE,
    may_accept_others=False,
    open_data=open_data,
    assumed=assumed,
    reading=lambda config, note: {},  # codes are checked as a whole, and have all views in them
    example=example,
    ends=ends,
)
