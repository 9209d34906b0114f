"""Floor 2: sampling loops that know no network, only a `predict`."""

from resgen_jax.samplers import guidance, interface, mask_predict, order

__all__ = ["guidance", "interface", "mask_predict", "order"]
