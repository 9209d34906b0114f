"""Codebooks on the sphere: codes by direction (ViT-VQGAN section 3.2), and how they learn."""

import typing

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from resgen_jax.core import keys
from resgen_jax.quantizers import chunks, codebook_averages, kmeans, vq
from resgen_jax.quantizers import codebook as codebook_lib


# Annotated but not checked at construction: a state's tree also holds shardings and shapes.
@typing.no_type_check
class CosineState(struct.PyTreeNode):
    """Decayed counts and sums of unit vectors, and per level the length that its codes have."""

    counts: Float[Array, "q v"]
    sums: Float[Array, "q v c"]
    lengths: Float[Array, "q"]


def normalise(vectors: Float[Array, "*n c"]) -> Float[Array, "*n c"]:
    """Vectors of length 1 in the same directions; one shorter than 1e-6 stays about as short."""
    square = jnp.sum(vectors**2, axis=-1, keepdims=True)
    return vectors * jax.lax.rsqrt(jnp.maximum(square, 1e-12))


def encode(
    latents: Float[Array, "*n c"],
    codebook: Float[Array, "v c"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Int[Array, "*n"], Float[Array, "*n c"]]:
    """The code of each vector by cosine similarity, and what it leaves of the unit vector."""
    return vq.encode(normalise(latents), normalise(codebook), max_distances=max_distances)


def decode(codes: Int[Array, "*n"], codebook: Float[Array, "v c"]) -> Float[Array, "*n c"]:
    """The unit vector of each code."""
    return vq.decode(codes, normalise(codebook))


def codebooks_from(state: CosineState) -> Float[Array, "q v c"]:
    """Directions of the sums, all of a level's length.

    Among vectors of one length the nearest is that of the nearest direction, so that plain RVQ with
    these codebooks chooses by cosine similarity.
    """
    return normalise(state.sums) * state.lengths[:, None, None]


def random_state(key: PRNGKeyArray, depth: int, codebook_size: int, code_dim: int) -> CosineState:
    """Random directions that count as one vector each."""
    tables = codebook_averages.random_codebooks(key, depth, codebook_size, code_dim)
    return CosineState(
        counts=jnp.ones((depth, codebook_size)),
        sums=normalise(tables),
        lengths=jnp.linalg.norm(tables[:, 0], axis=-1),
    )


def start(
    key: PRNGKeyArray,
    latents: Float[Array, "*n c"],
    depth: int,
    codebook_size: int,
    is_valid: Bool[Array, "*n"] | None = None,
    *,
    num_iterations: int = 10,
    max_distances: int = chunks.MAX_DISTANCES,
) -> CosineState:
    """Spherical k-means of each level's residuals, whose centres are unit vectors throughout."""
    rows = jax.lax.stop_gradient(latents).reshape(-1, latents.shape[-1]).astype(jnp.float32)
    is_row = jnp.ones(len(rows), bool) if is_valid is None else is_valid.reshape(-1)

    def level(residual, level_key):
        directions = normalise(residual)
        centres, counts = kmeans.kmeans(
            level_key,
            directions,
            codebook_size,
            is_row,
            num_iterations=num_iterations,
            max_distances=max_distances,
            place=normalise,
        )
        codes = codebook_lib.nearest_code(directions, centres, max_distances=max_distances)
        chosen = codebook_lib.lookup(codes, centres)
        length = _mean_length(residual, chosen, is_row, jnp.float32(1.0))
        return residual - length * chosen, (jnp.maximum(counts, 1.0), centres, length)

    level_keys = jax.vmap(keys.step_key, in_axes=(None, 0))(key, jnp.arange(depth))
    _, (counts, centres, lengths) = jax.lax.scan(level, rows, level_keys)
    return CosineState(counts=counts, sums=counts[..., None] * centres, lengths=lengths)


def update(
    state: CosineState,
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    is_valid: Bool[Array, "*n"] | None = None,
    *,
    decay: float,
    max_distances: int = chunks.MAX_DISTANCES,
) -> CosineState:
    """The moving averages after one more batch, of the directions of what enters each level.

    A level's length follows the mean component of its residuals along their codes.
    """
    rows, row_codes, is_row = codebook_averages.flatten(latents, codes, is_valid)
    weights = is_row.astype(jnp.float32)

    def level(residual, inputs):
        table, level_codes, old_length = inputs
        counts, sums = codebook_lib.sum_by_code(
            normalise(residual), level_codes, weights, len(table), max_distances=max_distances
        )
        chosen = codebook_lib.lookup(level_codes, table)
        length = _mean_length(residual, normalise(chosen), is_row, old_length)
        return residual - chosen, CosineState(counts=counts, sums=sums, lengths=length)

    _, batch = jax.lax.scan(level, rows, (codebooks_from(state), row_codes.T, state.lengths))
    return jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, state, batch)


def restart(
    state: CosineState, candidates: Float[Array, "q v c"], *, threshold: float
) -> CosineState:
    """Dead codes take the candidates' directions; see `codebook_averages.restart`."""
    stats = codebook_averages.CodebookStats(counts=state.counts, sums=state.sums)
    stats = codebook_averages.restart(stats, normalise(candidates), threshold=threshold)
    return state.replace(counts=stats.counts, sums=stats.sums)


def _mean_length(residual, directions, is_row, otherwise) -> Float[Array, ""]:
    """Mean component along the directions over valid rows: the length that leaves least."""
    along = jnp.sum(residual * directions, axis=-1)
    num_rows = jnp.sum(is_row.astype(jnp.float32))
    mean = jnp.sum(along, where=is_row) / jnp.maximum(num_rows, 1.0)
    # Not below zero, where a code would stand for the opposite of its members.
    return jnp.where(num_rows > 0, jnp.maximum(mean, 1e-6), otherwise)
