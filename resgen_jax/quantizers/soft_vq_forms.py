"""SoftVQ by Euclidean distance, as the paper writes it (2412.10958), and as a mixture of scales."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, codebook, segments, soft_vq

# Squared distances below are rounding, and a root of zero has no gradient.
SMALLEST_SQUARE = 1e-12


def quantize_euclidean(
    latents: Float[Array, "b l c"],
    codebooks: Float[Array, "g v c"],
    temperature: float | Float[Array, ""] = soft_vq.TEMPERATURE,
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Float[Array, "b l c"]:
    """Mean of a codebook's vectors by softmax(-|x - e| / temperature), in float32.

    The distance is not squared, nothing is normalised, and gradients reach the codebooks through
    the shares, too. Segments and errors are those of `soft_vq.quantize`.
    """
    segments.check(latents, codebooks)
    soft_vq.check_temperature(temperature)
    tables = codebooks.astype(jnp.float32)

    @jax.checkpoint
    def mean(rows):
        behind = soft_vq.behind_best(-_distances(rows, tables))
        return soft_vq.mean_code(jax.nn.softmax(behind / temperature, axis=-1), tables)

    return soft_vq.map_segments(mean, latents, codebooks, max_distances)


def quantize_mixture(
    latents: Float[Array, "b l c"],
    codebooks: Float[Array, "g v c"],
    sharpness: Float[Array, "b l"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> Float[Array, "b l c"]:
    """Mean of a codebook's vectors by softmax(-w |x - e|), w the sharpness of each position.

    The paper's variant with data-dependent weights: w comes from the latents, by a network of the
    caller's. A sharpness of 1 / temperature everywhere is `quantize_euclidean`. Raises UserError
    for one that is not above 0, and as that does.
    """
    segments.check(latents, codebooks)
    _check_sharpness(latents, sharpness)
    tables = codebooks.astype(jnp.float32)

    @jax.checkpoint
    def mean(arrays):
        rows, row_sharpness = arrays
        logits = soft_vq.behind_best(-_distances(rows, tables)) * row_sharpness.T[..., None]
        return soft_vq.mean_code(jax.nn.softmax(logits, axis=-1), tables)

    return soft_vq.map_segments(mean, (latents, sharpness), codebooks, max_distances)


def _distances(rows: Float[Array, "n g c"], tables: Float[Array, "g v c"]) -> Float[Array, "g n v"]:
    # From the middle of the codes, where the squares have the fewest digits to lose.
    middle = jax.lax.stop_gradient(jnp.mean(tables, axis=1, keepdims=True))
    rows, tables = rows - middle.swapaxes(0, 1), tables - middle
    product = jnp.einsum("ngc,gvc->gnv", rows, tables, precision=codebook.PRECISION)
    of_rows = jnp.sum(rows**2, axis=-1).T[..., None]
    of_codes = jnp.sum(tables**2, axis=-1)[:, None, :]
    return jnp.sqrt(jnp.maximum(of_rows - 2.0 * product + of_codes, SMALLEST_SQUARE))


def _check_sharpness(latents, sharpness) -> None:
    if sharpness.shape != latents.shape[:2]:
        raise errors.UserError(
            f"sharpness has the shape {sharpness.shape}; expected {latents.shape[:2]}, "
            "one number for each position"
        )
    if isinstance(sharpness, jax.core.Tracer) or not sharpness.size:
        return
    if not jnp.all(sharpness > 0):
        raise errors.UserError(
            f"sharpness goes down to {float(sharpness.min()):g}; expected numbers above 0, as "
            "jax.nn.softplus gives them"
        )
