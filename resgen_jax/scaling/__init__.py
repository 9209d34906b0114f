"""Floor 5: speed, size, and how the loss falls with size, data and compute."""

from resgen_jax.core import lazy

__all__ = ["counts", "sampler_bench"]
__getattr__ = lazy.modules(__name__, __all__)
