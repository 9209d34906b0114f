"""Floor 3: frozen networks whose features measure images; loaded, never trained here."""

from resgen_jax.core import lazy

__all__ = [
    "efficientnet_lite",
    "inception",
    "inception_blocks",
    "interface",
    "inverted_residual",
    "layers",
    "lpips",
    "lpips_features",
    "mobilenet",
]
__getattr__ = lazy.modules(__name__, __all__)
