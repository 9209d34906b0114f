"""Probabilistic RVQ: every code learns in proportion to its responsibility for the vectors."""

import math
import typing

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int

from resgen_jax.quantizers import chunks, codebook, codebook_averages, rvq

SMALLEST_VARIANCE = 1e-8


# Annotated but not checked at construction: a state's tree also holds shardings and shapes.
@typing.no_type_check
class ProbabilisticState(struct.PyTreeNode):
    """Codebooks, and per level the moving average of the variance that the level leaves."""

    codebooks: Float[Array, "q v c"]
    variances: Float[Array, "q"]


def own_targets(
    latents: Float[Array, "*n c"], codes: Int[Array, "*n q"], codebooks: Float[Array, "q v c"]
) -> Float[Array, "*n q c"]:
    """z minus the vectors of all *other* levels: what each level's code should be."""
    remainder = latents - rvq.decode(codes, codebooks)
    own = jax.vmap(codebook.lookup, in_axes=(-1, 0), out_axes=-2)(codes, codebooks)
    return remainder[..., None, :] + own


def log_responsibilities(
    vectors: Float[Array, "n c"], table: Float[Array, "v c"], variance: Float[Array, ""]
) -> Float[Array, "v n"]:
    """log q(v | x), with q proportional to exp(-|x - e_v|^2 / (2 variance)) (CLaM-TTS section 3).

    Dense in (v, n): give it a chunk of the vectors.
    """
    score = codebook.scores(vectors, table) / jnp.maximum(variance, SMALLEST_VARIANCE)
    return jax.nn.log_softmax(score, axis=0)


def codebook_loss(
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    codebooks: Float[Array, "q v c"],
    variances: Float[Array, "q"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Float[Array, "*n q"]:
    """E_q[-log p(z | own code, greedy other codes)] of each level (CLaM-TTS section 3).

    Moves each codebook by its own level alone: the latents, the other levels' vectors and the
    responsibilities are held fixed.
    """
    targets = jax.lax.stop_gradient(own_targets(latents, codes, codebooks))
    rows = targets.reshape(-1, *targets.shape[-2:]).astype(jnp.float32)
    count = chunks.num_chunks(len(rows), codebooks.shape[1], max_distances)

    @jax.checkpoint
    def level_loss(target, table, variance):
        variance = jnp.maximum(variance, SMALLEST_VARIANCE)
        share = jnp.exp(log_responsibilities(target, jax.lax.stop_gradient(table), variance))
        # E_q |x - e|^2 = |x|^2 - 2 E_q (<x, e> - |e|^2 / 2)
        expected = jnp.sum(jax.lax.stop_gradient(share) * codebook.scores(target, table), axis=0)
        distance = jnp.sum(target**2, axis=-1) - 2.0 * expected
        log_norm = target.shape[-1] * jnp.log(2.0 * math.pi * variance)
        return 0.5 * (log_norm + distance / variance)

    def chunk_loss(chunk):
        by_level = jnp.moveaxis(chunk, 1, 0)
        levels = (by_level, codebooks, jax.lax.stop_gradient(variances))
        return jax.lax.scan(lambda _, level: (None, level_loss(*level)), None, levels)[1].T

    return chunks.map_rows(chunk_loss, rows, count).reshape(codes.shape)


def maximise(
    vectors: Float[Array, "n c"],
    table: Float[Array, "v c"],
    variance: Float[Array, ""],
    is_valid: Bool[Array, "n"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Float[Array, "v c"]:
    """Each code's target: the mean of all vectors, weighted by a softmax *over the vectors*.

    The weights of a code are its responsibilities, normalised over the whole global batch, so that
    a code that no vector chose is drawn to those that fit it least badly. One pass over the chunks
    with a running maximum per code. Without valid vectors the table is returned.
    """
    count = chunks.num_chunks(len(vectors), len(table), max_distances)

    def chunk(carry, inputs):
        largest, total, sums = carry
        rows, is_row = inputs
        weight = log_responsibilities(rows, table, variance)
        weight = jnp.where(is_row[None, :], weight, -jnp.inf)
        new_largest = jnp.maximum(largest, jnp.max(weight, axis=1))
        weight = jnp.exp(weight - new_largest[:, None])
        shrink = jnp.exp(largest - new_largest)
        added = jnp.einsum("vn,nc->vc", weight, rows, precision=codebook.PRECISION)
        total = total * shrink + jnp.sum(weight, axis=1)
        return (new_largest, total, sums * shrink[:, None] + added), None

    # Finite, because -inf - -inf would be NaN while nothing valid has come.
    lowest = jnp.full(len(table), jnp.finfo(jnp.float32).min / 2)
    start = lowest, jnp.zeros(len(table)), jnp.zeros(table.shape)
    parts = chunks.split(vectors, count), chunks.split(is_valid, count)
    (_, total, sums), _ = jax.lax.scan(chunk, start, parts)
    mean = sums / jnp.maximum(total, 1e-30)[:, None]
    return jnp.where(total[:, None] > 0, mean, table)


def update(
    state: ProbabilisticState,
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    is_valid: Bool[Array, "*n"] | None = None,
    *,
    decay: float = 0.999,
    max_distances: int = chunks.MAX_DISTANCES,
) -> ProbabilisticState:
    """One EM step by moving averages, level by level on the residuals (CLaM-TTS section 3).

    The responsibilities use the variance of this batch; its moving average is kept for inference.
    """
    rows, row_codes, is_row = codebook_averages.flatten(latents, codes, is_valid)
    num_scalars = jnp.maximum(jnp.sum(is_row.astype(jnp.float32)), 1.0) * rows.shape[-1]

    def level(residual, inputs):
        table, level_codes = inputs
        left = residual - codebook.lookup(level_codes, table)
        variance = jnp.sum(left**2, where=is_row[:, None]) / num_scalars
        target = maximise(residual, table, variance, is_row, max_distances=max_distances)
        return left, (decay * table + (1.0 - decay) * target, variance)

    _, (codebooks, variances) = jax.lax.scan(level, rows, (state.codebooks, row_codes.T))
    return ProbabilisticState(
        codebooks=codebooks, variances=decay * state.variances + (1.0 - decay) * variances
    )


def variances_left(
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    codebooks: Float[Array, "q v c"],
    is_valid: Bool[Array, "*n"] | None = None,
) -> Float[Array, "q"]:
    """Mean square of what is left after each level, over valid vectors and channels."""
    rows, row_codes, is_row = codebook_averages.flatten(latents, codes, is_valid)
    num_scalars = jnp.maximum(jnp.sum(is_row.astype(jnp.float32)), 1.0) * rows.shape[-1]

    def level(residual, inputs):
        table, level_codes = inputs
        left = residual - codebook.lookup(level_codes, table)
        return left, jnp.sum(left**2, where=is_row[:, None]) / num_scalars

    return jax.lax.scan(level, rows, (codebooks, row_codes.T))[1]
