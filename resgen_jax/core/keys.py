"""Random keys by name, by step and by example: adding a use never shifts the others."""

import zlib

import jax
from jaxtyping import Array, Int, Key, PRNGKeyArray


def named_keys(key: PRNGKeyArray, *names: str) -> dict[str, PRNGKeyArray]:
    """One key per use; adding a name never changes the others."""
    return {name: jax.random.fold_in(key, zlib.crc32(name.encode())) for name in names}


def step_key(key: PRNGKeyArray, step: int | Int[Array, ""]) -> PRNGKeyArray:
    """The key of one training step: the same after a resume and on any mesh."""
    return jax.random.fold_in(key, step)


def example_keys(key: PRNGKeyArray, index: Int[Array, "b"]) -> Key[Array, "b"]:
    """One key per example, by its global number: the batch it is drawn in does not matter."""
    return jax.vmap(jax.random.fold_in, in_axes=(None, 0))(key, index)
