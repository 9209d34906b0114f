"""Floor 2: sampling loops that know no network, only a `predict`."""

from resgen_jax.core import lazy

__all__ = ["guidance", "halton", "interface", "mask_predict", "order", "remasking"]
__getattr__ = lazy.modules(__name__, __all__)
