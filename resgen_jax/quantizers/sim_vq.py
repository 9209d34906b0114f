"""SimVQ: a codebook that never changes, seen through a linear map that learns (Zhu et al. 2024)."""

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from resgen_jax.core import keys
from resgen_jax.quantizers import chunks, vq
from resgen_jax.quantizers import codebook as codebook_lib

# {"frozen": "v d", "map": {"kernel": "d c"}}
Params = dict


def init(
    key: PRNGKeyArray, codebook_size: int, code_dim: int, frozen_dim: int | None = None
) -> Params:
    """Random vectors of `frozen_dim` channels, `code_dim` unless given, and a random map of them.

    One for each level of an RVQ: `jax.vmap` over keys, and `jax.vmap(codebook)` over the params.
    """
    frozen_dim = code_dim if frozen_dim is None else frozen_dim
    named = keys.named_keys(key, "frozen", "map")
    frozen = jax.random.normal(named["frozen"], (codebook_size, frozen_dim))
    kernel = jax.random.normal(named["map"], (frozen_dim, code_dim))
    scale = 1.0 / math.sqrt(frozen_dim)
    return {"frozen": scale * frozen, "map": {"kernel": scale * kernel}}


def codebook(params: Params) -> Float[Array, "v c"]:
    """The codebook as it is now: every gradient to it moves the map, and so all codes together."""
    frozen = jax.lax.stop_gradient(params["frozen"])
    kernel = params["map"]["kernel"]
    return jnp.einsum("vd,dc->vc", frozen, kernel, precision=codebook_lib.PRECISION)


def encode(
    params: Params, latents: Float[Array, "*n c"], *, max_distances: int = chunks.MAX_DISTANCES
) -> tuple[Int[Array, "*n"], Float[Array, "*n c"]]:
    """The nearest code of each vector, and what it leaves; see `vq.encode`."""
    table = jax.lax.stop_gradient(codebook(params))
    return vq.encode(latents, table, max_distances=max_distances)


def decode(params: Params, codes: Int[Array, "*n"]) -> Float[Array, "*n c"]:
    """The mapped vector of each code; its `codebook_loss` is what teaches the map."""
    return vq.decode(codes, codebook(params))
