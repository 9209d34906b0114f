"""Floor 2: losses as functions of arrays, not reduced further than their names say."""

from resgen_jax.losses import adversarial, masked, quantization, reconstruction

__all__ = ["adversarial", "masked", "quantization", "reconstruction"]
