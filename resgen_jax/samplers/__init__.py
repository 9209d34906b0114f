"""Floor 2: sampling loops that know no network, only a `predict`."""

from resgen_jax.core import lazy

__all__ = ["guidance", "interface", "mask_predict", "order"]
__getattr__ = lazy.modules(__name__, __all__)
