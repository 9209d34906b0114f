"""Floor 2: losses as functions of arrays, not reduced further than their names say."""

from resgen_jax.losses import masked, quantization, reconstruction

__all__ = ["masked", "quantization", "reconstruction"]
