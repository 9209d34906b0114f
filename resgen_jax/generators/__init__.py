"""Floor 3: networks that generate codes of codes, or latents of noisy ones, never from images."""

from resgen_jax.core import lazy

__all__ = [
    "ar_resgen",
    "ar_resgen_sampler",
    "choices",
    "conditioning",
    "confidence",
    "diffusion_predict",
    "diffusion_transformer",
    "interface",
    "mixture_head",
    "proposals",
    "resgen",
    "resgen_sampler",
    "rq_transformer",
    "rq_transformer_sampler",
]
__getattr__ = lazy.modules(__name__, __all__)
