"""Floor 2: what hides the data - mask schedules and the masking of RVQ codes."""

from resgen_jax.processes import mask_schedules, rvq_masking

__all__ = ["mask_schedules", "rvq_masking"]
