"""Generation with residual vector quantization: tokenizers, generators, samplers and training."""

import importlib

__version__ = "0.1.0"


def from_pretrained(path):
    """The tokenizer or generator in a directory that `resgen convert` wrote.

    A tokenizer has `encode(images)`, `decode(codes)` and `codebooks`, a generator
    `sample(labels, key, **knobs)`; see `resgen_jax.convert.pretrained`.
    """
    # By name and late: most of the library asks this file for its version alone.
    return importlib.import_module("resgen_jax.convert.pretrained").from_pretrained(path)
