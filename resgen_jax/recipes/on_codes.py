"""The role of generators: methods that train on cached codes."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from resgen_jax.convert import exports
from resgen_jax.core import build, errors
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


SECTIONS = {"data": CodesSpec}
OPTIONAL = {"space": generators.CodeSpace}


def open_data(config: Any) -> interface.Data:
    """The codes that a config names. Raises UserError if it names none, or those of other sizes."""
    if not config.data.codes:
        raise errors.UserError(
            "data.codes is empty; write codes with `resgen encode --workdir=TOKENIZER_RUN "
            "--output=DIR` and name them: --config.data.codes=DIR"
        )
    dataset = codes.read(config.data.codes)
    described = dataclasses.asdict(dataset.meta) | {"sha256": dataset.sha256}
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
    space = space_of(meta)
    if config is not None and config.space is not None:
        _check_space(space, config.space)
    return interface.Data(
        (), (), space.num_classes, record={}, identity=None, space=space, codebooks=None
    )


def assumed(config: Any) -> interface.Data:
    """What a config says of its codes: by those it names, or by its section `space`."""
    if config.data.codes:
        return of_meta(codes.read(config.data.codes).meta, config)
    if config.space is None:
        raise errors.UserError(
            "the sizes of the codes are not known from this config; give the codes with "
            "--config.data.codes=DIR, or use one with a section `space`"
        )
    space = config.space
    return interface.Data((), (), space.num_classes, record={}, identity=None, space=space)


def codebooks_of(data: interface.Data) -> np.ndarray:
    """The codebooks of codes; zeros where those are not at hand, for a state to be restored."""
    if data.codebooks is not None:
        return data.codebooks
    space = data.space
    return np.zeros((space.depth, space.codebook_size, space.code_dim), np.float32)


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


def space_of(meta: codes.Meta) -> generators.CodeSpace:
    """The sizes of some codes, as a generator needs them."""
    return generators.CodeSpace(
        grid=meta.grid,
        depth=meta.depth,
        codebook_size=meta.codebook_size,
        code_dim=meta.code_dim,
        num_classes=len(meta.class_names),
        num_beams=meta.num_beams,
    )


def example(generator: generators.Generator) -> dict[str, Any]:
    """Shapes and types of one example of a training batch."""
    shape = (generator.space.length, generator.space.depth)
    return {
        "index": jax.ShapeDtypeStruct((), np.int32),
        "codes": jax.ShapeDtypeStruct(shape, np.int32),
        "labels": jax.ShapeDtypeStruct((), np.int32),
    }


def ends(generator: generators.Generator) -> dict[str, int]:
    """What codes and labels are below."""
    return {"codes": generator.space.codebook_size, "labels": generator.space.num_classes}


def _check_space(space: generators.CodeSpace, wanted: generators.CodeSpace) -> None:
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
