"""Vector quantization: one codebook, one code for each vector."""

from jaxtyping import Array, Float, Int

from resgen_jax.quantizers import chunks, rvq
from resgen_jax.quantizers import codebook as codebook_lib


def encode(
    latents: Float[Array, "*n c"],
    codebook: Float[Array, "v c"],
    *,
    max_distances: int = chunks.MAX_DISTANCES,
) -> tuple[Int[Array, "*n"], Float[Array, "*n c"]]:
    """The nearest code of each vector, and what it leaves; RVQ of depth 1 without its axis."""
    codes, remainder = rvq.encode(latents, codebook[None], max_distances=max_distances)
    return codes[..., 0], remainder


def decode(codes: Int[Array, "*n"], codebook: Float[Array, "v c"]) -> Float[Array, "*n c"]:
    """The vector of each code."""
    return codebook_lib.lookup(codes, codebook)
