"""Floor 4: networks that turn data into codes and back."""

from resgen_jax.tokenizers import interface, rq_vae

__all__ = ["interface", "rq_vae"]
