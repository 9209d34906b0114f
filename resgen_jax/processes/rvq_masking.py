"""Masking of RVQ codes, deepest levels first (ResGen's forward process), and its closed forms.

A mask is drawn by choosing n of the L x D cells without replacement and hiding, at each position,
as many of its deepest levels as it has chosen cells; or its shallowest ones, or those cells.
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Int, Key, PRNGKeyArray

from resgen_jax.core import errors
from resgen_jax.core import keys as random_keys
from resgen_jax.processes import mask_schedules

# From the chosen cells to those that are hidden, as many at each position.
Hide = Callable[[Bool[Array, "... l q"]], Bool[Array, "... l q"]]


def hide_deepest(is_chosen: Bool[Array, "... l q"]) -> Bool[Array, "... l q"]:
    """The deepest levels: coarse codes are known first (ResGen)."""
    return mask_from_num_hidden(jnp.sum(is_chosen, axis=-1), is_chosen.shape[-1])


def hide_shallowest(is_chosen: Bool[Array, "... l q"]) -> Bool[Array, "... l q"]:
    """The shallowest levels: fine codes are known first."""
    return jnp.flip(hide_deepest(is_chosen), axis=-1)


def hide_chosen(is_chosen: Bool[Array, "... l q"]) -> Bool[Array, "... l q"]:
    """Exactly the chosen cells: every level for itself."""
    return is_chosen


MASKS: dict[str, Hide] = {
    "coarse_first": hide_deepest,
    "fine_first": hide_shallowest,
    "indep": hide_chosen,
}


def sample_num_hidden(
    key: PRNGKeyArray, num_masked: int | np.integer | Int[Array, ""], length: int, depth: int
) -> Int[Array, "l"]:
    """How many levels each position hides: multivariate hypergeometric, summing to `num_masked`.

    As `sample_cells`, which chooses them.
    """
    return jnp.sum(sample_cells(key, num_masked, length, depth), axis=-1)


def sample_cells(
    key: PRNGKeyArray,
    num_masked: int | np.integer | Int[Array, ""],
    length: int,
    depth: int,
    is_valid: Bool[Array, "l"] | None = None,
) -> Bool[Array, "l q"]:
    """`num_masked` of all cells of valid positions, chosen evenly without replacement.

    The same key chooses the same of them, whatever padding follows them. `num_masked` may be
    traced. Raises UserError for a plain number outside [0, length * depth].
    """
    num_tokens = length * depth
    if isinstance(num_masked, int | np.integer) and not 0 <= num_masked <= num_tokens:
        raise errors.UserError(
            f"num_masked is {num_masked}; expected 0 to {num_tokens} ({length} positions of depth "
            f"{depth})"
        )
    # The order that sorts random numbers is a random permutation, hence as good as their ranks.
    bits = jax.random.bits(key, (length, depth), jnp.uint32)
    if is_valid is None:
        return jnp.argsort(bits, axis=None).reshape(length, depth) < num_masked
    is_cell = jnp.broadcast_to(is_valid[:, None], bits.shape)
    order = jnp.argsort(jnp.where(is_cell, bits, jnp.uint32(2**32 - 1)), axis=None, stable=True)
    number = jnp.cumsum(is_cell) - 1  # of each cell among those of valid positions
    rank = number[order[number]].reshape(length, depth)
    return is_cell & (rank < num_masked)


def mask_from_num_hidden(num_hidden: Int[Array, "... l"], depth: int) -> Bool[Array, "... l q"]:
    """Mask that hides the deepest `num_hidden` levels of each position."""
    shape = (*num_hidden.shape, depth)
    level = jax.lax.broadcasted_iota(num_hidden.dtype, shape, num_hidden.ndim)
    return level >= depth - num_hidden[..., None]


def sample_mask(
    keys: Key[Array, "b"],
    schedule: mask_schedules.Schedule,
    length: int,
    depth: int,
    max_rate: float = 1.0,
    hide: Hide = hide_deepest,
    is_valid: Bool[Array, "b l"] | None = None,
) -> Bool[Array, "b l q"]:
    """Training masks, one key each: r ~ U[0, max_rate), n = ceil(gamma(r) L D), at least 1.

    `hide` makes the mask of n cells chosen evenly; one of `MASKS`. Padding, where not `is_valid`,
    is neither hidden nor counted in L.
    """

    def cells(key, is_valid):
        use = random_keys.named_keys(key, "rate", "cells")
        num_cells = jnp.int32(length) if is_valid is None else jnp.sum(is_valid)
        num_masked = mask_schedules.draw_num_masked(
            use["rate"], schedule, max_rate, num_cells * depth
        )
        return sample_cells(use["cells"], num_masked, length, depth, is_valid)

    return hide(jax.vmap(cells)(keys, is_valid))


def revealed_embedding(
    codes: Int[Array, "b l q"], is_masked: Bool[Array, "b l q"], codebooks: Float[Array, "q v c"]
) -> Float[Array, "b l c"]:
    """Sum of the vectors of the codes that the model may see."""
    return _sum_where(codes, ~is_masked, codebooks)


def masked_embedding(
    codes: Int[Array, "b l q"], is_masked: Bool[Array, "b l q"], codebooks: Float[Array, "q v c"]
) -> Float[Array, "b l c"]:
    """Sum of the vectors of the hidden codes: what ResGen predicts."""
    return _sum_where(codes, is_masked, codebooks)


def _sum_where(codes: Array, is_in: Array, codebooks: Array) -> Array:
    """Level by level, so that "b l q c" never exists."""

    def level(total, inputs):
        codes, is_in, codebook = inputs
        return total + jnp.where(is_in[..., None], codebook[codes], 0), None

    start = jnp.zeros((*codes.shape[:-1], codebooks.shape[-1]), codebooks.dtype)
    levels = (jnp.moveaxis(codes, -1, 0), jnp.moveaxis(is_in, -1, 0), codebooks)
    total, _ = jax.lax.scan(level, start, levels)
    return total


def log_marginal(num_hidden: Int[Array, "... l"], depth: int) -> Float[Array, "..."]:
    """log q(k_t | x_0), given their sum: prod_i C(D, k_i) / C(L D, n)."""
    visible = jnp.zeros_like(num_hidden)
    return log_forward(visible, num_hidden, depth)


def log_forward(
    num_hidden: Int[Array, "... l"], num_hidden_next: Int[Array, "... l"], depth: int
) -> Float[Array, "..."]:
    """log q(k_{t+1} | k_t): the newly hidden cells are any of those still visible."""
    visible = depth - num_hidden
    return _log_hypergeometric(visible, num_hidden_next - num_hidden)


def log_posterior(
    num_hidden: Int[Array, "... l"], num_hidden_next: Int[Array, "... l"]
) -> Float[Array, "..."]:
    """log q(k_t | k_{t+1}, x_0): those hidden earlier are any of those hidden now."""
    return _log_hypergeometric(num_hidden_next, num_hidden)


def _log_hypergeometric(available: Array, drawn: Array) -> Array:
    """log of prod_i C(available_i, drawn_i) / C(sum available, sum drawn)."""
    ways = jnp.sum(_log_choose(available, drawn), axis=-1)
    return ways - _log_choose(jnp.sum(available, axis=-1), jnp.sum(drawn, axis=-1))


def _log_choose(available: Array, drawn: Array) -> Array:
    """log C(n, k), minus infinity where nothing can be chosen so."""
    is_possible = (drawn >= 0) & (drawn <= available)
    n, k = available.astype(jnp.float32), jnp.where(is_possible, drawn, 0).astype(jnp.float32)
    return jnp.where(is_possible, gammaln(n + 1) - gammaln(k + 1) - gammaln(n - k + 1), -jnp.inf)
