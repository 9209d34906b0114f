"""ResGen in JAX: generation over residual-vector-quantized codes."""

__version__ = "0.1.0"
