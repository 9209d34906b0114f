"""Floor 2: building blocks of networks, and networks as pure functions (`functional`)."""

from resgen_jax.core import lazy

__all__ = [
    "adaptive",
    "attention",
    "causal",
    "conv2d",
    "dropout",
    "flops",
    "functional",
    "linear",
    "lora",
    "modulation",
    "patches",
    "positions",
    "transformer",
    "vit",
]
__getattr__ = lazy.modules(__name__, __all__)
