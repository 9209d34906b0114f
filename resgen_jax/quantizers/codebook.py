"""One codebook: the nearest code, its vector, and how evenly the codes are used."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, gradients

# Codes are decided in float32: the default matmul of a TPU would round the distances first.
PRECISION = jax.lax.Precision.HIGHEST

straight_through = gradients.straight_through


def check_code_dim(latents: Float[Array, "..."], codebook: Float[Array, "..."]) -> None:
    """Raises UserError where vectors and codebook do not have the same number of channels."""
    if latents.shape[-1] != codebook.shape[-1]:
        raise errors.UserError(
            f"latents have {latents.shape[-1]} channels and the codebook {codebook.shape[-1]}; "
            "give both the same code_dim"
        )


def scores(vectors: Float[Array, "n c"], codebook: Float[Array, "v c"]) -> Float[Array, "v n"]:
    """<x, e> - |e|^2 / 2: largest where |x - e|^2 is smallest, for |x|^2 is common to all codes.

    The subtraction is one more channel of the matmul. Codes lead, so that reductions over them
    run along whole rows of vectors, the fast direction on CPU and TPU.
    """
    half_norm = 0.5 * jnp.sum(codebook**2, axis=-1, keepdims=True)
    vectors = jnp.concatenate([vectors, jnp.ones_like(vectors[:, :1])], axis=-1)
    codebook = jnp.concatenate([codebook, -half_norm], axis=-1)
    return jnp.einsum("vc,nc->vn", codebook, vectors, precision=PRECISION)


def nearest_code(
    vectors: Float[Array, "n c"],
    codebook: Float[Array, "v c"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Int[Array, "n"]:
    """Row of `codebook` closest to each vector in squared Euclidean distance; ties to the lowest.

    No more than `max_distances` of the (n, v) distances exist at a time, counted over all devices.
    """
    check_code_dim(vectors, codebook)
    codebook = jax.lax.stop_gradient(codebook.astype(jnp.float32))
    vectors = jax.lax.stop_gradient(vectors.astype(jnp.float32))
    count = chunks.num_chunks(len(vectors), len(codebook), max_distances)
    return chunks.map_rows(lambda rows: largest(scores(rows, codebook)), vectors, count)


def nearest_code_and_log_prob(
    vectors: Float[Array, "n c"],
    codebook: Float[Array, "v c"],
    log_scale: Float[Array, "n"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Int[Array, "n"], Float[Array, "n"]]:
    """As `nearest_code`, with the code's log-probability from the same distances.

    The probabilities are softmax(-|x - e|^2 / (2 exp(2 log_scale))), a scale for each vector.
    """
    check_code_dim(vectors, codebook)
    codebook = jax.lax.stop_gradient(codebook.astype(jnp.float32))
    vectors = jax.lax.stop_gradient(vectors.astype(jnp.float32))
    precision = jnp.exp(-2 * log_scale.astype(jnp.float32))

    def of_chunk(chunk):
        rows, row_precision = chunk
        score = scores(rows, codebook)
        behind = score - jnp.max(score, axis=0, keepdims=True)
        log_prob = -jax.nn.logsumexp(behind * row_precision[None, :], axis=0)
        return largest(score), log_prob

    count = chunks.num_chunks(len(vectors), len(codebook), max_distances)
    return chunks.map_rows(of_chunk, (vectors, precision), count)


def largest(score: Float[Array, "v n"]) -> Int[Array, "n"]:
    """The code of largest score, the lowest where several are, by two plain reductions.

    On CPU, XLA vectorises `max` and `min` but not `argmax`; float32 holds the indices exactly.
    """
    num_codes = score.shape[0]
    index = jax.lax.broadcasted_iota(jnp.float32, score.shape, 0)
    is_best = score == jnp.max(score, axis=0, keepdims=True)
    lowest = jnp.min(jnp.where(is_best, index, float(num_codes - 1)), axis=0)
    return lowest.astype(jnp.int32)


def lookup(codes: Int[Array, "..."], codebook: Float[Array, "v c"]) -> Float[Array, "... c"]:
    """The vector of each code."""
    return jnp.take(codebook, codes, axis=0, mode="clip")


def sum_by_code(
    vectors: Float[Array, "n c"],
    codes: Int[Array, "n"],
    weights: Float[Array, "n"],
    codebook_size: int,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Float[Array, "v"], Float[Array, "v c"]]:
    """Per code, the weights and the weighted vectors of those that chose it, added up.

    A matmul with the one-hot codes, chunk by chunk: unlike a scatter its result does not depend on
    the order in which an accelerator happens to add, and on a mesh it is the sum over all devices.
    """
    count = chunks.num_chunks(len(vectors), codebook_size, max_distances)
    weights = weights[:, None]
    weighted = jnp.concatenate([vectors * weights, weights], axis=-1)

    def add(total, chunk):
        rows, row_codes = chunk
        chosen = jax.nn.one_hot(row_codes, codebook_size, dtype=rows.dtype)
        return total + jnp.einsum("nv,nc->vc", chosen, rows, precision=PRECISION), None

    total = jnp.zeros((codebook_size, weighted.shape[-1]), weighted.dtype)
    total, _ = jax.lax.scan(add, total, (chunks.split(weighted, count), chunks.split(codes, count)))
    return total[:, -1], total[:, :-1]


def count_codes(
    codes: Int[Array, "*n q"], codebook_size: int, is_valid: Bool[Array, "*n"] | None = None
) -> Float[Array, "q v"]:
    """How often each code of each level occurs among the valid positions."""
    flat = codes.reshape(-1, codes.shape[-1])
    weights = jnp.ones(flat.shape[0], jnp.float32)
    if is_valid is not None:
        weights = is_valid.reshape(-1).astype(jnp.float32)
    nothing = jnp.zeros((flat.shape[0], 0), jnp.float32)

    def level(_, level_codes):
        return None, sum_by_code(nothing, level_codes, weights, codebook_size)[0]

    return jax.lax.scan(level, None, flat.T)[1]


def usage(code_counts: Float[Array, "... v"]) -> Float[Array, "..."]:
    """Share of the codes that occur at all, in [0, 1]."""
    return jnp.mean((code_counts > 0).astype(jnp.float32), axis=-1)


def perplexity(code_counts: Float[Array, "... v"]) -> Float[Array, "..."]:
    """exp(entropy) of the codes' shares: v where all are used alike, 1 where one serves all."""
    total = jnp.maximum(jnp.sum(code_counts, axis=-1, keepdims=True), 1e-30)
    return jnp.exp(jnp.sum(jax.scipy.special.entr(code_counts / total), axis=-1))
