"""Floor 2: the low-rank mixture of Gaussians, and filters on logits."""

from resgen_jax.core import lazy

__all__ = ["filters", "low_rank_mixture"]
__getattr__ = lazy.modules(__name__, __all__)
