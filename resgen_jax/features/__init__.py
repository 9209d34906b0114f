"""Floor 3: frozen networks whose features measure images; loaded, never trained here."""

from resgen_jax.core import lazy

__all__ = ["inception", "inception_blocks", "interface", "layers", "lpips", "mobilenet"]
__getattr__ = lazy.modules(__name__, __all__)
