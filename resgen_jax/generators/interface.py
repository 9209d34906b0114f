"""What the rest of the library knows of a generator, and what may be known of its codes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int, PRNGKeyArray

from resgen_jax.core import errors, keys, spaces, trees
from resgen_jax.nn import functional

PyTree = Any


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


def first_lost(codes: Int[Array, "b l q"]) -> Int[Array, "b"]:
    """At which step each row met what is not a number, or -1; samplers say so by codes below 0.

    A code is then -1 - step: of a network call in mask-and-predict, of a code where they are drawn
    one after the other.
    """
    flat = codes.reshape(codes.shape[0], -1)
    first = jnp.max(jnp.where(flat < 0, flat, jnp.iinfo(flat.dtype).min), axis=1)
    return jnp.where(jnp.any(flat < 0, axis=1), -1 - first, -1)


def check_lost(lost: np.ndarray, numbers: np.ndarray) -> None:
    """Raises UserError for rows that met what is not a number; `numbers` are those of the rows."""
    rows = np.flatnonzero(lost >= 0)
    if len(rows):
        row = rows[0]
        more = f" (and {len(rows) - 1} more of its batch)" if len(rows) > 1 else ""
        raise errors.UserError(
            f"sampling met NaN or infinity at step {lost[row]} in row {numbers[row]}{more}: the "
            "weights or the settings are out of bounds; nothing was written. Look at the run's "
            "last losses, sample an earlier checkpoint, or lower guidance_scale"
        )


class Guided(NamedTuple):
    """Parameters of a model and of the weaker one that it is guided by."""

    own: PyTree
    weaker: PyTree


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
    num_calls: Callable[[Any], int]  # that spec -> calls of the network for a batch
    # That spec -> a sampler that gives the codes, and codes and masks after each step.
    watched_sampler: Callable[[Any], Any] | None = None
    # A weaker generator of the same codes -> this one, guided away from it, whose samplers take the
    # parameters of both; None where guidance knows no other model.
    guided_by: Callable[[Any], Any] | None = None


def of_network(network: functional.Network, space: spaces.Space, **functions: Any) -> Generator:
    """A generator of a network's parameters, and codebooks that stay as they are.

    `functions` are the rest of its fields: `check`, `plan`, `sampler`, `num_calls` and others.
    """
    shape = space.codes.codebooks_shape

    def init(key: PRNGKeyArray) -> dict[str, Any]:
        params = network.init(keys.named_keys(key, "params")["params"])
        return {"params": params, "statistics": {"codebooks": jnp.zeros(shape)}}

    axes = {"params": network.axes, "statistics": {"codebooks": (None, None, None)}}
    return Generator(space=space, network=network, init=init, axes=axes, **functions)
