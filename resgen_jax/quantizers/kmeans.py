"""Codebooks started by k-means on a batch of latents, level by level on what the last ones left."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from resgen_jax.core import keys
from resgen_jax.quantizers import chunks, codebook, codebook_averages, rvq


def kmeans(
    key: PRNGKeyArray,
    vectors: Float[Array, "n c"],
    codebook_size: int,
    is_valid: Bool[Array, "n"],
    *,
    num_iterations: int = 10,
    max_distances: int = chunks.MAX_DISTANCES,
    place: Callable[[Array], Array] = lambda centres: centres,
) -> tuple[Float[Array, "v c"], Float[Array, "v"]]:
    """Centres after Lloyd's iterations from random rows, and the count of each centre's members.

    A centre without members stays where it is; with fewer vectors than codes some must be such.
    `place` puts the means of an iteration where centres may lie, such as on the sphere.
    """
    weights = is_valid.astype(jnp.float32)

    def members(centres):
        codes = codebook.nearest_code(vectors, centres, max_distances=max_distances)
        return codebook.sum_by_code(
            vectors, codes, weights, codebook_size, max_distances=max_distances
        )

    def iteration(centres, _):
        counts, sums = members(centres)
        means = place(sums / jnp.maximum(counts, 1.0)[:, None])
        return jnp.where(counts[:, None] > 0, means, centres), None

    first = vectors[codebook_averages.spread_rows(key, is_valid, codebook_size)]
    centres, _ = jax.lax.scan(iteration, first, length=num_iterations)
    return centres, members(centres)[0]


def start(
    key: PRNGKeyArray,
    latents: Float[Array, "*n c"],
    depth: int,
    codebook_size: int,
    is_valid: Bool[Array, "*n"] | None = None,
    *,
    num_iterations: int = 10,
    max_distances: int = chunks.MAX_DISTANCES,
) -> codebook_averages.CodebookStats:
    """Counts and sums of residual k-means, one codebook per level.

    A centre without members counts as one vector, so that its place is not forgotten.
    """
    rows = jax.lax.stop_gradient(latents).reshape(-1, latents.shape[-1]).astype(jnp.float32)
    is_row = jnp.ones(len(rows), bool) if is_valid is None else is_valid.reshape(-1)

    def level(residual, level_key):
        centres, counts = kmeans(
            level_key,
            residual,
            codebook_size,
            is_row,
            num_iterations=num_iterations,
            max_distances=max_distances,
        )
        codes = codebook.nearest_code(residual, centres, max_distances=max_distances)
        return residual - codebook.lookup(codes, centres), (centres, counts)

    level_keys = jax.vmap(keys.step_key, in_axes=(None, 0))(key, jnp.arange(depth))
    _, (codebooks, counts) = jax.lax.scan(level, rows, level_keys)
    return codebook_averages.stats_of(codebooks, jnp.maximum(counts, 1.0))


def start_shared(
    key: PRNGKeyArray,
    latents: Float[Array, "*n c"],
    depth: int,
    codebook_size: int,
    is_valid: Bool[Array, "*n"] | None = None,
    *,
    num_iterations: int = 10,
    max_distances: int = chunks.MAX_DISTANCES,
) -> codebook_averages.CodebookStats:
    """Counts and sums of one codebook for all levels, fitted to the residuals of all of them.

    An equal part of the codes starts from each level's own k-means; then Lloyd's iterations run on
    the residuals of all levels together.
    """
    options = {"num_iterations": num_iterations, "max_distances": max_distances}
    part = start(key, latents, depth, -(-codebook_size // depth), is_valid, **options)
    centres = codebook_averages.codebooks_from(part, smoothing=0.0)
    # Codes in turn from each level: cutting the surplus leaves every level its part.
    table = jnp.moveaxis(centres, 0, 1).reshape(-1, latents.shape[-1])[:codebook_size]

    def members(table):
        codebooks = rvq.share(table, depth)
        codes, _ = rvq.encode(latents, codebooks, max_distances=max_distances)
        return codebook_averages.pool(
            codebook_averages.statistics(
                latents, codes, codebooks, is_valid, max_distances=max_distances
            )
        )

    def iteration(table, _):
        stats = members(table)
        means = codebook_averages.codebooks_from(stats, smoothing=0.0)[0]
        return jnp.where(stats.counts[0, :, None] > 0, means, table), None

    table, _ = jax.lax.scan(iteration, table, length=num_iterations)
    counts = members(table).counts
    return codebook_averages.stats_of(table[None], jnp.maximum(counts, 1.0))
