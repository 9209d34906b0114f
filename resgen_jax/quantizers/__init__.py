"""Floor 2: vectors to codes and back (`vq`, `rvq`), and the ways codebooks learn (`interface`)."""

from resgen_jax.core import lazy

__all__ = [
    "averaged_learners",
    "beam",
    "codebook",
    "codebook_averages",
    "cosine",
    "fixed_grids",
    "gradient_learning",
    "gradients",
    "interface",
    "kmeans",
    "learner",
    "multi_scale",
    "probabilistic_rvq",
    "residual_scalar",
    "resizing",
    "rvq",
    "scalar",
    "segments",
    "sim_vq",
    "sim_vq_learning",
    "soft_vq",
    "soft_vq_compositions",
    "soft_vq_forms",
    "stochastic",
    "vq",
]
__getattr__ = lazy.modules(
    __name__, __all__, {"learning": "resgen_jax.quantizers.codebook_averages"}
)
