"""Floor 2: what hides or blurs the data - masks of RVQ codes, and paths from latents to noise."""

from resgen_jax.core import lazy

__all__ = [
    "interpolants",
    "level_masking",
    "mask_schedules",
    "masks",
    "noise_levels",
    "predictions",
    "rvq_masking",
]
__getattr__ = lazy.modules(__name__, __all__)
