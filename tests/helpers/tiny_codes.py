"""Codes of a tokenizer that never was, for tests of the codes directory."""

import numpy as np

from resgen_jax.core import spaces
from resgen_jax.data import codes

META = codes.Meta(
    space=spaces.image_codes((2, 3), depth=4, codebook_size=50, code_dim=5, num_classes=2),
    image_size=8,
    channels=1,
    class_names=("a", "b"),
    tokenizer="runs/tokenizer",
)


def records(num, seed=0):
    """Codes and labels of `num` images."""
    rng = np.random.default_rng(seed)
    return rng.integers(0, 50, (num, 6, 4), dtype=np.int32), rng.integers(0, 2, num, dtype=np.int32)


CODEBOOKS = np.random.default_rng(1).normal(size=(4, 50, 5)).astype(np.float32)
