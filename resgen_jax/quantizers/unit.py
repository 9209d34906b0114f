"""Codebooks at one scale, whatever tokenizer made them."""

import numpy as np
from jaxtyping import Float

from resgen_jax.quantizers import rvq


def unit_codebooks(codebooks: Float[np.ndarray, "q v c"]) -> Float[np.ndarray, "q v c"]:
    """Codebooks scaled together, so that a sum of random codes has unit variance a channel.

    The codes of a vector stay the same, and the mixture starts at the scale of its targets. What
    `rvq.stack` fills a codebook up with does not count, and stays as far away.
    """
    is_code = ~rvq.is_padding(codebooks)[..., None]
    squares = np.square(np.where(is_code, codebooks, 0), dtype=np.float64)
    energy = np.sum(np.mean(squares, axis=(1, 2), where=is_code))
    scaled = codebooks / np.sqrt(max(energy, 1e-12))
    return np.where(is_code, scaled, rvq.FAR).astype(np.float32)
