"""Grouped RVQ: the channels cut into groups, each with codebooks of its own (HiFi-Codec)."""

import einops
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from resgen_jax.core import errors
from resgen_jax.quantizers import chunks, rvq


def encode(
    latents: Float[Array, "*n c"],
    codebooks: Float[Array, "g q v k"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Int[Array, "*n g q"], Float[Array, "*n c"]]:
    """As `rvq.encode` for each group of `k` channels, and what all of them leave.

    Depth 1 is product quantization. Groups go one after the other, each within `max_distances`.
    Raises UserError where the groups' channels are not those of the latents.
    """
    groups, code_dim = codebooks.shape[0], codebooks.shape[-1]
    if groups * code_dim != latents.shape[-1]:
        raise errors.UserError(
            f"latents have {latents.shape[-1]} channels and {groups} groups of {code_dim} make "
            f"{groups * code_dim}; expected as many"
        )
    parts = einops.rearrange(latents, "... (g k) -> g ... k", g=groups)
    codes, remainder = jax.lax.map(
        lambda group: rvq.encode(*group, max_distances=max_distances), (parts, codebooks)
    )
    return jnp.moveaxis(codes, 0, -2), einops.rearrange(remainder, "g ... k -> ... (g k)")


def decode(codes: Int[Array, "*n g p"], codebooks: Float[Array, "g q v k"]) -> Float[Array, "*n c"]:
    """The groups' sums side by side; `codes` may be a prefix of the levels."""
    parts = jax.vmap(rvq.decode)(jnp.moveaxis(codes, -2, 0), codebooks)
    return einops.rearrange(parts, "g ... k -> ... (g k)")
