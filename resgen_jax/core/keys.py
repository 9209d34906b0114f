"""Random keys by name, by step and by example: adding a use never shifts the others."""

import zlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key, PRNGKeyArray

from resgen_jax.core import errors, seeds


def of(key: Any) -> PRNGKeyArray:
    """The key of a seed, or the key itself; UserError for what is neither."""
    if isinstance(key, int | np.integer) and not isinstance(key, bool):
        return jax.random.key(seeds.check(int(key), "key"))
    if isinstance(key, jax.Array):
        is_one = jnp.issubdtype(key.dtype, jax.dtypes.prng_key) and not key.shape
        if is_one or (key.dtype, key.shape) == (jnp.uint32, (2,)):  # the older form of a key
            return key
        raise errors.UserError(f"key is {key.dtype} of shape {key.shape}; expected one key")
    raise errors.UserError(
        f"key is of type {type(key).__name__}; expected a whole number or jax.random.key(0)"
    )


def named_keys(key: PRNGKeyArray, *names: str) -> dict[str, PRNGKeyArray]:
    """One key per use; adding a name never changes the others."""
    return {name: jax.random.fold_in(key, zlib.crc32(name.encode())) for name in names}


def step_key(key: PRNGKeyArray, step: int | Int[Array, ""]) -> PRNGKeyArray:
    """The key of one training step: the same after a resume and on any mesh."""
    return jax.random.fold_in(key, step)


def example_keys(key: PRNGKeyArray, index: Int[Array, "b"]) -> Key[Array, "b"]:
    """One key per example, by its global number: the batch it is drawn in does not matter."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
