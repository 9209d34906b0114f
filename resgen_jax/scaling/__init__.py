"""Floor 6: measurements of speed and size."""

from resgen_jax.scaling import rvq_bench, sampler_bench

__all__ = ["rvq_bench", "sampler_bench"]
