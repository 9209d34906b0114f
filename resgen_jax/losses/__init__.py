"""Floor 2: losses as functions of arrays, not reduced further than their names say."""

from resgen_jax.core import lazy

__all__ = ["adversarial", "masked", "quantization", "reconstruction", "regression"]
__getattr__ = lazy.modules(__name__, __all__)
