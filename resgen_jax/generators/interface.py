"""What the rest of the library knows of a generator, and what it knows of its codes."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from resgen_jax.core import build, errors, keys, trees
from resgen_jax.nn import functional


@dataclasses.dataclass(frozen=True)
class CodeSpace:
    """Sizes of the code grids: positions, levels, entries, channels, and the classes they have."""

    grid: tuple[int, int]  # rows and columns of positions
    depth: int  # levels: codes of each position
    codebook_size: int  # entries of each level's codebook
    code_dim: int  # channels of their vectors
    num_classes: int  # that an example can have
    num_beams: int = 1  # prefixes kept where a vector is given codes, as in the tokenizer

    def __post_init__(self):
        if min(self.grid) < 1 or self.length > build.LARGEST_SIZE:
            raise errors.UserError(
                f"grid is {self.grid}; expected at least one row and column, and at most "
                f"{build.LARGEST_SIZE} positions"
            )
        names = ("depth", "codebook_size", "code_dim", "num_classes", "num_beams")
        build.check_sizes(self, names)

    @property
    def length(self) -> int:
        """Number of positions."""
        return math.prod(self.grid)

    @property
    def num_tokens(self) -> int:
        """Number of codes in one example: positions times levels."""
        return self.length * self.depth


class Known(NamedTuple):
    """Codes of which some are kept; where `is_masked` they are never read."""

    codes: Int[Array, "b l q"]
    is_masked: Bool[Array, "b l q"]


def nothing_known(space: CodeSpace, num_rows: int) -> Known:
    """Of new examples: all is masked."""
    shape = (num_rows, space.length, space.depth)
    return Known(jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool))


def abstract_known(space: CodeSpace, labels: jax.ShapeDtypeStruct) -> Known:
    """The shapes and types of what may be known of a batch, which lies where its labels do."""
    shape = (*labels.shape, space.length, space.depth)
    kinds = (jnp.int32, jnp.bool_)
    leaves = (jax.ShapeDtypeStruct(shape, kind, sharding=labels.sharding) for kind in kinds)
    return trees.stand_in(Known, *leaves)


class Generator(NamedTuple):
    """Codes of new examples, as pure functions of parameters and codebooks.

    A sampler has `sample(params, codebooks, keys, labels, plan, known=None)`, jitted, which gives
    codes "b l q", and `program`, the function behind it with its abstract arguments; `known` are
    codes of which some are kept. There is no optimizer and no loss in it.
    """

    space: CodeSpace
    network: functional.Network
    init: Callable[[Any], dict[str, Any]]  # key -> {"params", "statistics": {"codebooks"}}
    axes: dict[str, Any]  # the same tree, with the logical axes of each array
    check: Callable[[Any], None]  # raises UserError for a sampler's spec that it cannot follow
    plan: Callable[[Any, int], Any]  # that spec, and how many codes to draw -> arrays
    sampler: Callable[[Any], Any]  # that spec -> a sampler
    # That spec -> a sampler that gives the codes, and codes and masks after each step.
    watched_sampler: Callable[[Any], Any] | None = None


def of_network(network: functional.Network, space: CodeSpace, **functions: Any) -> Generator:
    """A generator of a network's parameters, and codebooks that stay as they are.

    `functions` are the rest of its fields: `check`, `plan`, `sampler`, `watched_sampler`.
    """
    shape = (space.depth, space.codebook_size, space.code_dim)

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        params = network.init(keys.named_keys(key, "params")["params"])
        return {"params": params, "statistics": {"codebooks": jnp.zeros(shape)}}

    axes = {"params": network.axes, "statistics": {"codebooks": (None, None, None)}}
    return Generator(space=space, network=network, init=init, axes=axes, **functions)
