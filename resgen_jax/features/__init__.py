"""Floor 3: frozen networks whose features measure images; loaded, never trained here."""

from resgen_jax.features import inception, inception_blocks, interface, layers, lpips, mobilenet

__all__ = ["inception", "inception_blocks", "interface", "layers", "lpips", "mobilenet"]
