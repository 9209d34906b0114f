"""Floor 2: what hides the data - mask schedules and the masking of RVQ codes."""

from resgen_jax.core import lazy

__all__ = ["level_masking", "mask_schedules", "masks", "rvq_masking"]
__getattr__ = lazy.modules(__name__, __all__)
