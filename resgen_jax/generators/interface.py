"""What the rest of the library knows of a generator, and what may be known of its codes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from resgen_jax.core import keys, spaces, trees
from resgen_jax.nn import functional


class Known(NamedTuple):
    """Codes of which some are kept; where `is_masked` they are never read.

    Padding, where not `is_valid`, is not drawn, has no influence, and comes out as it is; without
    `is_valid` there is none.
    """

    codes: Int[Array, "b l q"]
    is_masked: Bool[Array, "b l q"]
    is_valid: Bool[Array, "b l"] | None = None


def nothing_known(space: spaces.Space, num_rows: int) -> Known:
    """What is known of new examples: nothing, all is masked."""
    shape = (num_rows, space.max_length, space.codes.depth)
    return Known(jnp.zeros(shape, jnp.int32), jnp.ones(shape, bool))


def nothing_known_of(is_valid: Bool[Array, "b l"], depth: int) -> Known:
    """Of new examples of different lengths: all is masked where they are valid."""
    shape = (*is_valid.shape, depth)
    is_masked = jnp.broadcast_to(is_valid[..., None], shape)
    return Known(jnp.zeros(shape, jnp.int32), is_masked, is_valid)


def abstract_known(space: spaces.Space, labels: jax.ShapeDtypeStruct) -> Known:
    """The shapes and types of what may be known of a batch, which lies where its labels do."""
    shape = (*labels.shape, space.max_length, space.codes.depth)
    kinds = (jnp.int32, jnp.bool_)
    leaves = (jax.ShapeDtypeStruct(shape, kind, sharding=labels.sharding) for kind in kinds)
    return trees.stand_in(Known, *leaves)


class Generator(NamedTuple):
    """Codes of new examples, as pure functions of parameters and codebooks.

    A sampler has `sample(params, codebooks, keys, labels, plan, known=None)`, jitted, which gives
    codes "b l q", and `program`, the function behind it with its abstract arguments; `known` are
    codes of which some are kept. There is no optimizer and no loss in it.
    """

    space: spaces.Space
    network: functional.Network
    init: Callable[[Any], dict[str, Any]]  # key -> {"params", "statistics": {"codebooks"}}
    axes: dict[str, Any]  # the same tree, with the logical axes of each array
    check: Callable[[Any], None]  # raises UserError for a sampler's spec that it cannot follow
    plan: Callable[[Any, int], Any]  # that spec, and how many codes to draw -> arrays
    sampler: Callable[[Any], Any]  # that spec -> a sampler
    # That spec -> a sampler that gives the codes, and codes and masks after each step.
    watched_sampler: Callable[[Any], Any] | None = None


def of_network(network: functional.Network, space: spaces.Space, **functions: Any) -> Generator:
    """A generator of a network's parameters, and codebooks that stay as they are.

    `functions` are the rest of its fields: `check`, `plan`, `sampler`, `watched_sampler`.
    """
    shape = space.codes.codebooks_shape

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        params = network.init(keys.named_keys(key, "params")["params"])
        return {"params": params, "statistics": {"codebooks": jnp.zeros(shape)}}

    axes = {"params": network.axes, "statistics": {"codebooks": (None, None, None)}}
    return Generator(space=space, network=network, init=init, axes=axes, **functions)
