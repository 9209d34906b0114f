"""Floor 2: the low-rank mixture of Gaussians, and filters on logits."""

from resgen_jax.distributions import filters, low_rank_mixture

__all__ = ["filters", "low_rank_mixture"]
