"""Floor 5: speed, size, and how the loss falls with size, data and compute."""

from resgen_jax.scaling import counts, rvq_bench, sampler_bench
from resgen_jax.scaling.laws import fit, study

__all__ = ["counts", "fit", "rvq_bench", "sampler_bench", "study"]
