"""What a method gives the rest of the library: one value, its recipe."""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from resgen_jax.data import sources
from resgen_jax.recipes import shared

PyTree = Any
Config = Any  # a frozen dataclass with the recipe's sections; see `recipes.configs`


class Data(NamedTuple):
    """What a config trains on, opened."""

    train: sources.Source
    held_out: sources.Source
    num_classes: int
    # What the run directory keeps of them in the file of the role; the same data have the same
    # `identity`, wherever they lie.
    record: Mapping[str, Any]
    identity: Any
    found: str = ""  # which there are, in one line
    space: Any = None  # of codes: a spaces.Space; None of images
    codebooks: np.ndarray | None = None  # of codes, "q v c"


class Role(NamedTuple):
    """What all methods that train on the same kind of data have in common."""

    noun: str  # what a trained one is called
    next_verb: str  # what is done with it
    trains_on: str  # "images" or "codes"
    record_file: str  # of the run directory; see Data.record
    may_accept_others: bool  # whether train.accept_data lets a run go on with other data
    open_data: Callable[[Config], Data]
    assumed: Callable[[Config], Data | None]  # what is known of the data where they are not there
    reading: Callable[[Config, Callable[[str], None]], dict[str, Any]]  # more for the pipeline
    example: Callable[[Any], dict[str, Any]]  # model -> shapes and types of one example
    ends: Callable[[Any], dict[str, int]]  # model -> what its integers are below


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A method: its config, its model, its task, and what is made of both."""

    name: str  # config.task
    role: Role
    sections: Mapping[str, type]  # frozen specs
    optional: Mapping[str, type]  # sections that a config may have or not
    choices: Mapping[str, Iterable[Any]]  # fields of few values, by dotted name
    # config, data -> a tokenizer's or generator's functions, without optimizer
    model: Callable[[Config, Any], Any]
    # config, data, weights from elsewhere (None: of a state to be restored), and has_begun: whether
    # its codebooks come from another run
    task: Callable[..., Any]
    # config -> weights that losses take from elsewhere, or None; or random ones of their shapes
    pretrained: Callable[[Config], PyTree] = lambda config: None
    random_pretrained: Callable[[Config], PyTree] = lambda config: None
    # config -> blocks of the network that it claims, to be compared with what was saved
    num_blocks: Callable[[Config], int] = lambda config: 0
    # config, step -> why a state of that step is of no use yet, or ""
    not_yet: Callable[[Config, int], str] = lambda config, step: ""
    # config, data, arrays, the fields of config.json, those of codes.json -> what `convert` writes
    export: Callable[..., Any] = dataclasses.field(kw_only=True)
    learnt: tuple[str, ...] = ()  # statistics of a state that a new run may begin with
    # The same out of a model's statistics, which are fewer.
    learnt_of: Callable[[PyTree], PyTree] = lambda statistics: {}
    # Parts of the parameters that serve training alone, and what they are called.
    auxiliary: Mapping[str, str] = dataclasses.field(default_factory=dict)
    taken_from: Mapping[tuple[str, str], str] = dataclasses.field(
        default_factory=lambda: shared.TAKEN_FROM
    )

    @property
    def sampler(self) -> type | None:
        """The spec of its sampler, whose fields are the flags of `resgen sample`."""
        return self.sections.get("sampler")
