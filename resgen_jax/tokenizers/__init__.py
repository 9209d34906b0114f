"""Floor 3: networks that turn data into codes and back."""

from resgen_jax.tokenizers import discriminators, interface, multi_scale_vae, rq_vae

__all__ = ["discriminators", "interface", "multi_scale_vae", "rq_vae"]
