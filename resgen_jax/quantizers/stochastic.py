"""RVQ codes drawn at a temperature, and the soft codes that they are drawn from."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, codebook


def encode_rows(
    row_keys: Key[Array, "*n"],
    latents: Float[Array, "*n c"],
    codebooks: Float[Array, "q v c"],
    temperature: float | Float[Array, ""],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Int[Array, "*n q"], Float[Array, "*n c"]]:
    """As `rvq.encode`, each code drawn from softmax(-|residual - e|^2 / temperature).

    A key for each vector: its codes depend neither on its neighbours nor on the chunks. Temperature
    0 gives the codes of `rvq.encode`; RQ-Transformer was trained at 0.5. Raises UserError for a
    negative temperature.
    """
    codebook.check_code_dim(latents, codebooks)
    _check_temperature(temperature, smallest=0.0)
    tables = codebooks.astype(jnp.float32)
    rows = latents.astype(jnp.float32).reshape(-1, latents.shape[-1])
    count = chunks.num_chunks(len(rows), tables.shape[1], max_distances)
    levels = jnp.arange(len(tables))

    def chunk(arrays):
        residual, bits = arrays
        chunk_keys = jax.random.wrap_key_data(bits, impl=jax.random.key_impl(row_keys))

        def level(residual, inputs):
            table, number = inputs
            noise = _gumbel(chunk_keys, number, len(table))
            # Half the temperature, for a score is minus half a squared distance.
            score = codebook.scores(*jax.lax.stop_gradient((residual, table)))
            codes = codebook.largest(score + 0.5 * temperature * noise)
            return residual - codebook.lookup(codes, table), codes

        remainder, codes = jax.lax.scan(level, residual, (tables, levels))
        return codes.T, remainder

    # As plain numbers: arrays of keys cannot be padded.
    bits = jax.random.key_data(row_keys).reshape(len(rows), -1)
    codes, remainder = chunks.map_rows(chunk, (rows, bits), count)
    return codes.reshape(*latents.shape[:-1], -1), remainder.reshape(latents.shape)


def soft_codes(
    latents: Float[Array, "*n c"],
    codes: Int[Array, "*n q"],
    codebooks: Float[Array, "q v c"],
    temperature: float | Float[Array, ""],
) -> Float[Array, "*n q v"]:
    """The probabilities that each level's code is drawn from, after the codes of the levels above.

    Targets of a cross-entropy that knows which codes are nearly as good (RQ-Transformer section
    3.2.3). All of it exists at once: give it a batch of a generator's size.
    """
    codebook.check_code_dim(latents, codebooks)
    _check_temperature(temperature, smallest=1e-6)
    tables = jax.lax.stop_gradient(codebooks.astype(jnp.float32))
    rows = jax.lax.stop_gradient(latents.astype(jnp.float32)).reshape(-1, latents.shape[-1])
    by_level = codes.reshape(-1, codes.shape[-1]).T

    def level(residual, inputs):
        table, level_codes = inputs
        score = codebook.scores(residual, table).T
        return (
            residual - codebook.lookup(level_codes, table),
            jax.nn.softmax(2.0 * score / temperature, axis=-1),
        )

    _, shares = jax.lax.scan(level, rows, (tables, by_level))
    return jnp.moveaxis(shares, 0, 1).reshape(*codes.shape, tables.shape[1])


def _gumbel(row_keys: Key[Array, "n"], level: Int[Array, ""], size: int) -> Float[Array, "v n"]:
    def one(row_key):
        return jax.random.gumbel(jax.random.fold_in(row_key, level), (size,))

    return jax.vmap(one, out_axes=1)(row_keys)


def _check_temperature(temperature, *, smallest: float) -> None:
    if isinstance(temperature, jax.core.Tracer):
        return
    if not temperature >= smallest:
        raise errors.UserError(f"temperature is {temperature}; expected at least {smallest:g}")
