"""Floor 2: measures of finished images: distances of features, diversity, pixels."""

from resgen_jax.core import lazy

__all__ = ["diversity", "frechet", "inception_score", "mind", "pixels", "precision_recall"]
__getattr__ = lazy.modules(__name__, __all__)
