"""Generation with residual vector quantization: tokenizers, generators, samplers and training."""

__version__ = "0.1.0"
