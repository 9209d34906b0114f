"""VQGAN of CompVis/taming-transformers: the tokenizer of a published checkpoint, of depth 1."""

import os

import numpy as np

from resgen_jax.convert import autoencoder, exports, rq_vae, rules
from resgen_jax.core import errors
from resgen_jax.quantizers import interface as quantizers

CODEBOOK = "quantize.embedding.weight"
# The training loss, with LPIPS and the discriminator; a colouring of label maps.
IGNORED = (r"loss\..*", r"colorize")


def convert(path: str | os.PathLike, *, image_size: int = 256) -> exports.Export:
    """The tokenizer in a checkpoint of VQGAN with one codebook, which was learnt by gradients.

    Raises UserError for a file that does not fit as a whole; VQGAN with Gumbel codes is another.
    """
    arrays, where = autoencoder.read_state(path), str(path)
    model = autoencoder.spec_of(arrays, image_size, where)
    if CODEBOOK not in arrays:
        raise errors.UserError(
            f"{where} has no array {CODEBOOK}; only VQGAN with a codebook can be read, not the "
            "one with Gumbel codes"
        )
    codebook_size, code_dim = autoencoder.table_size(arrays, CODEBOOK, where)
    shapes = {
        "networks": autoencoder.shapes_of(model),
        "tables": (1, codebook_size, code_dim),
    }
    table = [
        *autoencoder.rules_of(model, "networks/"),
        rules.copy(CODEBOOK, "tables", lambda array: array[None]),
    ]
    found = rules.apply(table, arrays, shapes, where=where, ignored=IGNORED)
    quantizer = quantizers.Spec(code_dim=code_dim, depth=1, codebook_size=codebook_size)
    counts = np.ones((1, codebook_size), np.float32)
    statistics = {"counts": counts, "sums": rq_vae.sums_of(found["tables"], counts)}
    return exports.of_rq_vae(model, quantizer, "ema", found["networks"], statistics)
