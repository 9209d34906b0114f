"""Floor 2: measures of finished images: Frechet distance, diversity, pixels."""

from resgen_jax.metrics import diversity, frechet, pixels

__all__ = ["diversity", "frechet", "pixels"]
