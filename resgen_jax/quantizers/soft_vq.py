"""SoftVQ: latents that are means of unit codes, weighted by a softmax of cosines (2412.10958).

The form of the released models: tokens are cut into one segment for each codebook. Forms of the
paper that were not released are in `soft_vq_forms`, products and sums in `soft_vq_compositions`.
"""

import typing

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, codebook, cosine, segments

TEMPERATURE, ENTROPY_TEMPERATURE = 0.07, 0.01
# What float32 can divide by: the quotients of cosines and distances stay finite.
SMALLEST_TEMPERATURE = 1e-30
# Added to the mean shares in their logarithm, as in the released models.
EPSILON = 1e-6


class SoftQuantized(typing.NamedTuple):
    """What `quantize_for_training` finds; gradients pass `quantized` and `entropy_loss` alone.

    Add up `code_counts` over batches for a report: a batch with fewer tokens than codes cannot use
    them all. Every sum and mean is over the global batch.
    """

    quantized: Float[Array, "b l c"]  # of lengths up to 1
    codes: Int[Array, "b l"]  # of the largest cosine, in the codebook of their segment
    entropy_loss: Float[Array, ""]  # nats, -log v to 0, but for EPSILON
    confidence: Float[Array, "b l"]  # the largest share
    similarity: Float[Array, "b l"]  # cosine of latents and quantized
    code_counts: Float[Array, "g v"]
    mean_shares: Float[Array, "g v"]  # also something to take a `codebook.perplexity` of
    usage: Float[Array, "g"]  # of code_counts
    perplexity: Float[Array, "g"]  # of code_counts


class _Rows(typing.NamedTuple):
    """The parts of a result that have a row of every segment."""

    quantized: Float[Array, "n g c"]
    codes: Int[Array, "n g"]
    confidence: Float[Array, "n g"]
    similarity: Float[Array, "n g"]
    entropy: Float[Array, "n g"]


class _Totals(typing.NamedTuple):
    """Sums over rows."""

    code_counts: Float[Array, "g v"]
    shares: Float[Array, "g v"]
    entropy_shares: Float[Array, "v"]  # over codebooks, too


def random_codebooks(
    key: PRNGKeyArray, num_codebooks: int, codebook_size: int, code_dim: int
) -> Float[Array, "g v c"]:
    """Unit vectors, uniform in each channel before; the published bound 1 / v divides out."""
    shape = (num_codebooks, codebook_size, code_dim)
    return cosine.normalise(jax.random.uniform(key, shape, minval=-1.0, maxval=1.0))


def quantize(
    latents: Float[Array, "b l c"],
    codebooks: Float[Array, "g v c"],
    temperature: float | Float[Array, ""] = TEMPERATURE,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Float[Array, "b l c"]:
    """Mean of a codebook's unit vectors by softmax(cosine / temperature), in float32.

    The first l / g positions use codebook 0, the next ones codebook 1, and so on. Lengths are at
    most 1. In the cosines the codebooks are held fixed: their gradient is that of the mean, and
    latents move the shares. A device holds `max_distances` cosines at a time, again when
    gradients are taken. Raises UserError where channels, length and codebooks do not suit each
    other, and for a temperature that is not above 0.
    """
    segments.check(latents, codebooks)
    check_temperature(temperature)
    units = cosine.normalise(codebooks.astype(jnp.float32))

    @jax.checkpoint
    def mean(rows):
        behind = behind_best(_cosines(rows, units))
        return mean_code(jax.nn.softmax(behind / temperature, axis=-1), units)

    return map_segments(mean, latents, codebooks, max_distances)


def quantize_for_training(
    latents: Float[Array, "b l c"],
    codebooks: Float[Array, "g v c"],
    temperature: float | Float[Array, ""] = TEMPERATURE,
    entropy_temperature: float | Float[Array, ""] = ENTROPY_TEMPERATURE,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> SoftQuantized:
    """As `quantize`, with the entropy loss and figures of how the codes are used.

    The loss is the mean entropy of a token's shares at `entropy_temperature`, less the entropy of
    their mean over the tokens of all segments: code k of one codebook counts as that of another.
    It moves the latents alone; its published weight is 0.01.
    """
    segments.check(latents, codebooks)
    check_temperature(temperature)
    check_temperature(entropy_temperature, "entropy_temperature")
    units = cosine.normalise(codebooks.astype(jnp.float32))
    num_codebooks, codebook_size, _ = units.shape
    rows = segments.split(latents.astype(jnp.float32), num_codebooks)
    count = chunks.num_chunks(len(rows), num_codebooks * codebook_size, max_distances)

    @jax.checkpoint
    def add(totals, chunk):
        found, sums = _measure(*chunk, units, temperature, entropy_temperature)
        return jax.tree.map(jnp.add, totals, sums), found

    parts = chunks.split(rows, count), chunks.split(jnp.ones(len(rows), bool), count)
    nothing = jnp.zeros((num_codebooks, codebook_size))
    totals, found = jax.lax.scan(add, _Totals(nothing, nothing, nothing[0]), parts)
    shape = latents.shape[:2]
    joined = _Rows(*(segments.join(chunks.join(part, len(rows)), *shape) for part in found))
    return _result(joined, totals, max(len(rows), 1))


def check_temperature(temperature: float | Float[Array, "..."], name: str = "temperature") -> None:
    """Raises UserError for a number that softmax cannot divide by; what is traced is not known."""
    if isinstance(temperature, jax.core.Tracer):
        return
    if not temperature >= SMALLEST_TEMPERATURE:
        raise errors.UserError(
            f"{name} is {temperature}; expected a number above 0, as {TEMPERATURE} (at least "
            f"{SMALLEST_TEMPERATURE:g}; towards 0 only the nearest code is left, as by vq.encode)"
        )


def behind_best(score: Float[Array, "... v"]) -> Float[Array, "... v"]:
    """The scores less the largest, for a softmax that stays exact however cold it is.

    After the division compilers round `score / temperature` and its maximum differently, and the
    exponential of what is between them overflows from temperatures of 1e-10 on.
    """
    return score - jax.lax.stop_gradient(jnp.max(score, axis=-1, keepdims=True))


def mean_code(
    shares: Float[Array, "g n v"], codebooks: Float[Array, "g v c"]
) -> Float[Array, "n g c"]:
    """The codes of each codebook, weighted by their shares and added up."""
    mean = jnp.einsum("gnv,gvc->gnc", shares, codebooks, precision=codebook.PRECISION)
    return mean.swapaxes(0, 1)


def map_segments(function, arrays, codebooks, max_distances: int) -> Float[Array, "b l c"]:
    """`function` of float32 rows "n g ..." of each array of "b l ...", chunk by chunk."""
    num_codebooks, codebook_size, _ = codebooks.shape

    def rows_of(array):
        return segments.split(array.astype(jnp.float32), num_codebooks)

    batch, length = jax.tree.leaves(arrays)[0].shape[:2]
    rows = jax.tree.map(rows_of, arrays)
    num_rows = len(jax.tree.leaves(rows)[0])
    count = chunks.num_chunks(num_rows, num_codebooks * codebook_size, max_distances)
    return segments.join(chunks.map_rows(function, rows, count), batch, length)


def _cosines(rows: Float[Array, "n g c"], units: Float[Array, "g v c"]) -> Float[Array, "g n v"]:
    fixed = jax.lax.stop_gradient(units)
    directions = cosine.normalise(rows)
    return jnp.einsum("ngc,gvc->gnv", directions, fixed, precision=codebook.PRECISION)


def _measure(rows, is_row, units, temperature, entropy_temperature) -> tuple[_Rows, _Totals]:
    score = _cosines(rows, units)
    behind = behind_best(score)
    shares = jax.nn.softmax(behind / temperature, axis=-1)
    log_shares = jax.nn.log_softmax(behind / entropy_temperature, axis=-1)
    quantized, codes = mean_code(shares, units), jnp.argmax(score, axis=-1)
    directions = cosine.normalise(rows), cosine.normalise(quantized)
    found = _Rows(
        quantized=quantized,
        codes=codes.T,
        confidence=jnp.max(shares, axis=-1).T,
        similarity=jnp.sum(directions[0] * directions[1], axis=-1),
        entropy=-jnp.sum(jnp.exp(log_shares) * log_shares, axis=-1).T,
    )
    is_row = is_row[None, :, None]
    totals = _Totals(
        code_counts=jnp.sum(jax.nn.one_hot(codes, units.shape[1]), axis=1, where=is_row),
        shares=jnp.sum(jax.lax.stop_gradient(shares), axis=1, where=is_row),
        entropy_shares=jnp.sum(jnp.exp(log_shares), axis=(0, 1), where=is_row),
    )
    return found, totals


def _result(found: _Rows, totals: _Totals, num_rows: int) -> SoftQuantized:
    num_tokens = num_rows * len(totals.code_counts)
    mean = totals.entropy_shares / num_tokens
    of_tokens = jnp.sum(found.entropy) / num_tokens
    return SoftQuantized(
        quantized=found.quantized,
        codes=found.codes,
        entropy_loss=of_tokens + jnp.sum(mean * jnp.log(mean + EPSILON)),
        confidence=jax.lax.stop_gradient(found.confidence),
        similarity=jax.lax.stop_gradient(found.similarity),
        code_counts=totals.code_counts,
        mean_shares=totals.shares / num_rows,
        usage=codebook.usage(totals.code_counts),
        perplexity=codebook.perplexity(totals.code_counts),
    )
