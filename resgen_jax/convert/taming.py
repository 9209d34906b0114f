"""VQGAN of CompVis/taming-transformers: the tokenizer of a published checkpoint, of depth 1."""

import os

import numpy as np

from resgen_jax.convert import autoencoder, exports, rq_vae, rules
from resgen_jax.core import errors
from resgen_jax.quantizers import interface as quantizers

CODEBOOK = "quantize.embedding.weight"
GUMBEL = "quantize.embed.weight"
# The training loss, with LPIPS and the discriminator; a colouring of label maps.
IGNORED = (r"loss\..*", r"colorize")
# What the words of the original's config come to here, for those who train on.
TRAINING = (
    "codebook: the original learns it by gradients, quantizer.learner=gradient here; this export "
    "has the same vectors as averages, quantizer.learner=ema",
    "loss: the original's beta of 0.25 weighs the codebook's part and leaves the commitment loss "
    "at 1 (its `legacy`), loss.commitment_weight=1 here",
)


def convert(path: str | os.PathLike, *, image_size: int = 256) -> exports.Export:
    """The tokenizer in a checkpoint of VQGAN with one codebook, which was learnt by gradients.

    What the original's config says of its training means something else here, see `TRAINING`.
    Raises UserError for a file that does not fit as a whole, and for VQGAN with Gumbel codes.
    """
    (arrays, remarks), where = autoencoder.read_state(path), str(path)
    model = autoencoder.spec_of(arrays, image_size, where)
    if GUMBEL in arrays:
        raise errors.UserError(
            f"{where} has Gumbel codes ({GUMBEL}), which a convolution chooses at random and not "
            "the nearest vector; they are not supported: take a VQGAN with a codebook "
            f"({CODEBOOK})"
        )
    if CODEBOOK not in arrays:
        raise errors.UserError(
            f"{where} has no array {CODEBOOK}; expected a VQGAN with one codebook"
        )
    codebook_size, code_dim = autoencoder.table_size(arrays, CODEBOOK, model, where)
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
    statistics = rq_vae.statistics_of(found["tables"], counts)
    export = exports.of_rq_vae(model, quantizer, "ema", found["networks"], statistics)
    return export._replace(remarks=remarks)
