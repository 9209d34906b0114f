"""Floor 2: vectors to codes and back (`vq`, `rvq`), and the ways codebooks learn (`interface`)."""

from resgen_jax.quantizers import (
    codebook,
    interface,
    kmeans,
    learning,
    probabilistic_rvq,
    rvq,
    vq,
)

__all__ = ["codebook", "interface", "kmeans", "learning", "probabilistic_rvq", "rvq", "vq"]
