"""Floor 2: measures of finished images: distances of features, diversity, pixels."""

from resgen_jax.metrics import diversity, frechet, inception_score, pixels, precision_recall

__all__ = ["diversity", "frechet", "inception_score", "pixels", "precision_recall"]
