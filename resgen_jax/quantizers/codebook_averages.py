"""Codebooks learnt by moving averages: statistics, update, restart of dead codes, depth dropout."""

import typing

import jax
import jax.numpy as jnp
from flax import struct
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from resgen_jax.core import errors, keys
from resgen_jax.quantizers import chunks, codebook


# Annotated but not checked at construction: a state's tree also holds shardings and shapes.
@typing.no_type_check
class CodebookStats(struct.PyTreeNode):
    """Decayed counts and sums of the residuals that chose each code of each level.

    A shared codebook is one level that all RVQ levels feed.
    """

    counts: Float[Array, "q v"]
    sums: Float[Array, "q v c"]


def random_codebooks(
    key: PRNGKeyArray, depth: int, codebook_size: int, code_dim: int
) -> Float[Array, "q v c"]:
    """Random directions of length (depth - level) / depth (CLaM-TTS section 3)."""
    table = jax.random.normal(key, (depth, codebook_size, code_dim))
    table = table / jnp.maximum(jnp.linalg.norm(table, axis=-1, keepdims=True), 1e-12)
    length = jnp.arange(depth, 0, -1, dtype=jnp.float32) / depth
    return table * length[:, None, None]


def stats_of(
    codebooks: Float[Array, "q v c"], counts: Float[Array, "q v"] | float = 1.0
) -> CodebookStats:
    """Counts and sums that stand for these codebooks: started together, so that they agree."""
    counts = jnp.broadcast_to(jnp.asarray(counts, jnp.float32), codebooks.shape[:2])
    return CodebookStats(counts=counts, sums=counts[..., None] * codebooks)


def codebooks_from(stats: CodebookStats, smoothing: float = 1e-5) -> Float[Array, "q v c"]:
    """Sums over counts, with Laplace smoothing of the counts.

    The smoothed counts keep their total, (n_v + s) / (N + v s) N; a code never chosen stays finite.
    """
    total = jnp.sum(stats.counts, axis=-1, keepdims=True)
    num_codes = stats.counts.shape[-1]
    counts = (stats.counts + smoothing) / (total + num_codes * smoothing + 1e-30) * total
    return stats.sums / jnp.maximum(counts, 1e-30)[..., None]


def statistics(
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    codebooks: Float[Array, "q v c"],
    is_valid: Bool[Array, "*n"] | None = None,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> CodebookStats:
    """Per level, how many residuals chose each code and their sum, over the whole global batch."""
    rows, row_codes, is_valid = flatten(latents, codes, is_valid)
    weights = is_valid.astype(jnp.float32)

    def level(residual, inputs):
        table, level_codes = inputs
        batch = codebook.sum_by_code(
            residual, level_codes, weights, len(table), max_distances=max_distances
        )
        return residual - codebook.lookup(level_codes, table), batch

    _, (counts, sums) = jax.lax.scan(level, rows, (codebooks, row_codes.T))
    return CodebookStats(counts=counts, sums=sums)


def pool(stats: CodebookStats) -> CodebookStats:
    """Statistics of one codebook that serves all levels: those of its levels, added up."""
    return jax.tree.map(lambda array: jnp.sum(array, axis=0, keepdims=True), stats)


def update(stats: CodebookStats, batch: CodebookStats, *, decay: float) -> CodebookStats:
    """The moving average after one more batch; with decay 0 the batch alone."""
    return jax.tree.map(lambda old, new: decay * old + (1.0 - decay) * new, stats, batch)


def entering_rows(
    key: PRNGKeyArray,
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    codebooks: Float[Array, "q v c"],
    is_valid: Bool[Array, "*n"] | None = None,
) -> Float[Array, "q v c"]:
    """For each code, a random row of the residuals that enter its level, from the global batch.

    The rows of one level differ from each other as long as there are v valid vectors.
    """
    rows, row_codes, is_valid = flatten(latents, codes, is_valid)
    level_keys = jax.vmap(keys.step_key, in_axes=(None, 0))(key, jnp.arange(len(codebooks)))

    def level(residual, inputs):
        level_key, table, level_codes = inputs
        chosen = residual[spread_rows(level_key, is_valid, len(table))]
        return residual - codebook.lookup(level_codes, table), chosen

    return jax.lax.scan(level, rows, (level_keys, codebooks, row_codes.T))[1]


def spread_rows(key: PRNGKeyArray, is_valid: Bool[Array, "n"], count: int) -> Int[Array, "v"]:
    """`count` random rows among the valid ones, one from each of as many equal stretches.

    Without repetition where there are enough rows, and without the sort of a random permutation.
    """
    # Unsigned: the products below stay under 2^32 for up to 65,536 codes and any number of rows.
    place = jnp.arange(count, dtype=jnp.uint32)
    num_valid = jnp.maximum(jnp.sum(is_valid.astype(jnp.uint32), dtype=jnp.uint32), 1)
    size, left_over = num_valid // count, num_valid % count
    first = place * size + place * left_over // count
    after = (place + 1) * size + (place + 1) * left_over // count
    offset = jax.random.bits(key, (count,), jnp.uint32) % jnp.maximum(after - first, 1)
    rank = jnp.minimum(first + offset, num_valid - 1)
    # The row of the r-th valid vector: the first whose running count exceeds r.
    running = jnp.cumsum(is_valid.astype(jnp.uint32), dtype=jnp.uint32)
    row = jnp.searchsorted(running, rank, side="right")
    return jnp.minimum(row, len(is_valid) - 1).astype(jnp.int32)


def is_dead(stats: CodebookStats, threshold: float) -> Bool[Array, "q v"]:
    """Codes used less than `threshold` times the mean use of their level."""
    return stats.counts < threshold * jnp.mean(stats.counts, axis=-1, keepdims=True)


def restart(
    stats: CodebookStats, candidates: Float[Array, "q v c"], *, threshold: float
) -> CodebookStats:
    """Dead codes move onto the candidates, with the mean count of their level.

    Count and sum start together, so the code is its candidate from the next step on.
    """
    dead = is_dead(stats, threshold)
    mean = jnp.mean(stats.counts, axis=-1, keepdims=True)
    fresh = stats_of(candidates, jnp.broadcast_to(mean, stats.counts.shape))
    return CodebookStats(
        counts=jnp.where(dead, fresh.counts, stats.counts),
        sums=jnp.where(dead[..., None], fresh.sums, stats.sums),
    )


def pool_candidates(key: PRNGKeyArray, candidates: Float[Array, "q v c"]) -> Float[Array, "1 v c"]:
    """Restart candidates of a shared codebook: for each code, those of a random level."""
    depth, num_codes, _ = candidates.shape
    level = jax.random.randint(key, (num_codes,), 0, depth)
    return candidates[level, jnp.arange(num_codes)][None]


def sample_num_levels(
    key: PRNGKeyArray, num_examples: int, depth: int, drop_rate: float
) -> Int[Array, "b"]:
    """Levels kept per example: all, or with probability `drop_rate` uniformly one of 1 to depth."""
    if not 0.0 <= drop_rate <= 1.0:
        raise errors.UserError(f"drop_rate is {drop_rate}; expected a probability in [0, 1]")
    named = keys.named_keys(key, "is_cut", "num_levels")
    is_cut = jax.random.bernoulli(named["is_cut"], drop_rate, (num_examples,))
    num_levels = jax.random.randint(named["num_levels"], (num_examples,), 1, depth + 1)
    return jnp.where(is_cut, num_levels, depth)


def flatten(
    latents: Float[Array, "*n c"], codes: Int[Array, "*n q"], is_valid: Bool[Array, "*n"] | None
) -> tuple[Float[Array, "rows c"], Int[Array, "rows q"], Bool[Array, "rows"]]:
    """Rows of float32 latents without gradient, their codes, and which of them count."""
    is_valid = jnp.ones(latents.shape[:-1], bool) if is_valid is None else is_valid
    rows = jax.lax.stop_gradient(latents).reshape(-1, latents.shape[-1])
    return rows.astype(jnp.float32), codes.reshape(-1, codes.shape[-1]), is_valid.reshape(-1)
