"""Floor 3: networks that turn data into codes and back."""

from resgen_jax.core import lazy

__all__ = ["discriminators", "interface", "multi_scale_vae", "rq_vae", "vit_autoencoder"]
__getattr__ = lazy.modules(__name__, __all__)
