"""The multi-scale tokenizer of FoundationVision/VAR, from its published file."""

import os
from collections.abc import Sequence

from resgen_jax.convert import autoencoder, exports, rules
from resgen_jax.core import errors
from resgen_jax.quantizers import multi_scale

CODEBOOK = "quantize.embedding.weight"
PHI = r"quantize\.quant_resi\.qresi_ls\.(\d+)\..*"
IGNORED = (r"quantize\.ema_vocab_hit_SV",)  # how often codes were used
SECTIONS = ("", "trainer/vae_local", "state_dict")


def convert(
    path: str | os.PathLike,
    *,
    image_size: int = 256,
    scales: Sequence[int] = multi_scale.VAR_SCALES,
) -> exports.Export:
    """The tokenizer in `vae_ch160v4096z32.pth`; neither images nor scales are told by the arrays.

    Raises UserError for a file that does not fit as a whole.
    """
    arrays, where = autoencoder.read_state(path, SECTIONS), str(path)
    model = autoencoder.spec_of(arrays, image_size, where)
    num_phi = autoencoder.count(arrays, PHI)
    phi = [f"quantize.quant_resi.qresi_ls.{i}" for i in range(num_phi)]
    if not phi or CODEBOOK not in arrays:
        raise errors.UserError(
            f"{where} is no tokenizer of VAR: it lacks {CODEBOOK} or quantize.quant_resi.qresi_ls.0"
        )
    spec = multi_scale.Spec(tuple(scales), model.grid[0], len(phi))
    codebook_size, code_dim = autoencoder.table_size(arrays, CODEBOOK, where)
    shapes = {
        "networks": autoencoder.shapes_of(model),
        "quantizer": {
            "codebook": (codebook_size, code_dim),
            "phi": {"kernel": (len(phi), 3, 3, code_dim, code_dim), "bias": (len(phi), code_dim)},
        },
    }
    weights, biases = (tuple(f"{name}.{leaf}" for name in phi) for leaf in ("weight", "bias"))
    table = [
        *autoencoder.rules_of(model, "networks/"),
        rules.copy(CODEBOOK, "quantizer/codebook"),
        rules.Rule("quantizer/phi/kernel", weights, rules.stacked_by(rules.kernel)),
        rules.Rule("quantizer/phi/bias", biases, rules.stacked),
    ]
    params = rules.apply(table, arrays, shapes, where=where, ignored=IGNORED)
    return exports.of_multi_scale_vae(model, spec, codebook_size, params)
