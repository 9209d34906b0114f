"""RVQ codes by beam search: several prefixes kept for each vector, not the nearest alone."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, codebook, rvq


def encode(
    latents: Float[Array, "*n c"],
    codebooks: Float[Array, "q v c"],
    num_beams: int,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Int[Array, "*n q"], Float[Array, "*n c"]]:
    """As `rvq.encode`, with the best of the `num_beams` closest prefixes kept at every level.

    Never further from the latents than the greedy codes, which are kept where no beam is strictly
    better; with one beam they are those of `rvq.encode`. Raises UserError for less than one beam.
    """
    _check(num_beams)
    greedy = rvq.encode(latents, codebooks, max_distances=max_distances)
    if num_beams == 1:
        return greedy
    is_masked = jnp.ones(greedy[0].shape, bool)
    codes = _search_chunks(latents, is_masked, codebooks, num_beams, max_distances)
    remainder = latents.astype(jnp.float32) - rvq.decode(codes, codebooks.astype(jnp.float32))
    is_better = jnp.sum(remainder**2, axis=-1) < jnp.sum(greedy[1] ** 2, axis=-1)
    is_taken = is_better[..., None]
    return jnp.where(is_taken, codes, greedy[0]), jnp.where(is_taken, remainder, greedy[1])


def encode_masked(
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    is_masked: Bool[Array, "*n q"],
    codebooks: Float[Array, "q v c"],
    num_beams: int,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Int[Array, "*n q"]:
    """As `rvq.encode_masked`, with the beams of `encode` over the masked levels.

    What a tokenizer encodes by beams has to be drawn by as many: the greedy codes of a sum of
    beams' vectors need not be the beams'. Never further from the latents than the greedy codes.
    """
    _check(num_beams)
    greedy = rvq.encode_masked(latents, codes, is_masked, codebooks, max_distances=max_distances)
    if num_beams == 1:
        return greedy
    found = _search_chunks(latents, is_masked, codebooks, num_beams, max_distances)
    found = jnp.where(is_masked, found, codes)

    def square_error(codes):
        taken = rvq.decode_masked(codes, is_masked, codebooks.astype(jnp.float32))
        return jnp.sum((latents.astype(jnp.float32) - taken) ** 2, axis=-1)

    is_better = square_error(found) < square_error(greedy)
    return jnp.where(is_better[..., None], found, greedy)


def _check(num_beams: int) -> None:
    if num_beams < 1:
        raise errors.UserError(f"num_beams is {num_beams}; expected 1 or more")


def _search_chunks(latents, is_masked, codebooks, num_beams: int, max_distances: int) -> Array:
    tables = jax.lax.stop_gradient(codebooks.astype(jnp.float32))
    rows = jax.lax.stop_gradient(latents.astype(jnp.float32)).reshape(-1, latents.shape[-1])
    count = chunks.num_chunks(len(rows), num_beams * tables.shape[1], max_distances)
    found = chunks.map_rows(
        lambda chunk: _search(chunk[0], chunk[1], tables, num_beams),
        (rows, is_masked.reshape(len(rows), -1)),
        count,
    )
    return found.reshape(is_masked.shape)


def _search(
    rows: Float[Array, "n c"],
    is_masked: Bool[Array, "n q"],
    tables: Float[Array, "q v c"],
    num_beams: int,
) -> Int[Array, "n q"]:
    num_rows, num_codes = len(rows), tables.shape[1]

    def level(carry, inputs):
        residual, is_alive = carry
        table, is_hidden = inputs
        score = _scores(residual, is_alive, table, is_hidden)
        best, index = jax.lax.top_k(score.reshape(num_rows, num_beams * num_codes), num_beams)
        parent, code = index // num_codes, index % num_codes
        residual = jnp.take_along_axis(residual, parent[..., None], axis=1)
        taken = jnp.where(is_hidden[:, None, None], codebook.lookup(code, table), 0.0)
        return (residual - taken, jnp.isfinite(best)), (parent, code)

    def trace_back(beam, pointers):
        parent, code = (jnp.take_along_axis(array, beam, axis=1) for array in pointers)
        return parent, code[:, 0]

    # One prefix to begin with, the empty one: the other beams are dead until it has children.
    start = jnp.broadcast_to(rows[:, None], (num_rows, num_beams, rows.shape[-1]))
    is_alive = jnp.broadcast_to(jnp.arange(num_beams) == 0, (num_rows, num_beams))
    _, pointers = jax.lax.scan(level, (start, is_alive), (tables, is_masked.T))
    # The beams are sorted: the first of the last level is the best.
    first = jnp.zeros((num_rows, 1), jnp.int32)
    return jax.lax.scan(trace_back, first, pointers, reverse=True)[1].T


def _scores(
    residual: Float[Array, "n k c"],
    is_alive: Bool[Array, "n k"],
    table: Float[Array, "v c"],
    is_hidden: Bool[Array, "n"],
) -> Float[Array, "n k v"]:
    """Minus half the squared distance that each child leaves, but for a part common to a row.

    Where the level is not hidden, a prefix has one child, which leaves what there is.
    """
    num_rows, num_beams, code_dim = residual.shape
    score = codebook.scores(residual.reshape(-1, code_dim), table)
    score = score.T.reshape(num_rows, num_beams, len(table))
    only_child = jnp.where(jnp.arange(len(table)) == 0, 0.0, -jnp.inf)
    score = jnp.where(is_hidden[:, None, None], score, only_child[None, None])
    half_norm = 0.5 * jnp.sum(residual**2, axis=-1)
    lead = half_norm - jnp.min(half_norm, axis=1, keepdims=True)
    return jnp.where(is_alive[..., None], score - lead[..., None], -jnp.inf)
