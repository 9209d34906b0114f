"""Batches of examples of different lengths: which positions of a row are its own.

A batch of codes or latents with "lengths" Int "b" has padding behind them; in one without, all rows
have all positions.
Its "is_valid" Bool "b" is False where a whole row fills up the batch.
"""

import jax.numpy as jnp
from jaxtyping import Array, Bool

from resgen_jax.training.state import Batch


def is_real(batch: Batch) -> Bool[Array, "b l"] | None:
    """Positions of each row that are no padding, or None where all are real."""
    if "lengths" not in batch:
        return None
    length = _cells(batch)[1]
    return jnp.arange(length)[None] < batch["lengths"][:, None]


def is_scored(batch: Batch) -> Bool[Array, "b l"]:
    """Real positions of rows that are examples; those of all rows without "is_valid"."""
    shape = _cells(batch)
    is_row = batch.get("is_valid", jnp.ones(shape[:1], bool))
    own = jnp.broadcast_to(is_row[:, None], shape)
    real = is_real(batch)
    return own if real is None else own & real


def _cells(batch: Batch) -> tuple[int, int]:
    """Rows and positions."""
    return batch["latents" if "latents" in batch else "codes"].shape[:2]
