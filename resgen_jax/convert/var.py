"""The multi-scale tokenizer of FoundationVision/VAR, from its published file."""

import os
from collections.abc import Sequence

from resgen_jax.convert import autoencoder, exports, rules
from resgen_jax.core import errors
from resgen_jax.quantizers import multi_scale

CODEBOOK = "quantize.embedding.weight"
# The convolutions phi: one for several scales, one for all, or one for each.
PARTLY_SHARED = r"quantize\.quant_resi\.qresi_ls\.(\d+)\..*"
SHARED = "quantize.quant_resi.qresi"
NOT_SHARED = r"quantize\.quant_resi\.(\d+)\..*"
IGNORED = (r"quantize\.ema_vocab_hit_SV",)  # how often codes were used
SECTIONS = ("", "trainer/vae_local", "state_dict")


def convert(
    path: str | os.PathLike,
    *,
    image_size: int = 256,
    scales: Sequence[int] = multi_scale.VAR_SCALES,
    choice: str = "distance",
) -> exports.Export:
    """The tokenizer in `vae_ch160v4096z32.pth`; neither images nor scales are told by the arrays.

    Nor are two numbers of the quantizer: whether codes are chosen by direction (`using_znorm`),
    `choice` "direction" here, and the share of phi (`quant_resi`), taken for 0.5, the published
    one. Raises UserError for a file that does not fit as a whole.
    """
    (arrays, remarks), where = autoencoder.read_state(path, SECTIONS), str(path)
    model = autoencoder.spec_of(arrays, image_size, where)
    phi = _phi(arrays)
    if not phi or CODEBOOK not in arrays:
        raise errors.UserError(
            f"{where} is no tokenizer of VAR: it lacks {CODEBOOK}, or the convolutions "
            f"{SHARED}_ls.0, {SHARED} or quantize.quant_resi.0 (a tokenizer without any, "
            "quant_resi=0, is not supported)"
        )
    spec = multi_scale.Spec(tuple(scales), model.grid[0], len(phi), choice)
    codebook_size, code_dim = autoencoder.table_size(arrays, CODEBOOK, model, where)
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
    export = exports.of_multi_scale_vae(model, spec, codebook_size, params)
    told = f"codes are chosen by {choice} and phi has a share of {multi_scale.PHI_SHARE}"
    return export._replace(
        remarks=(
            *remarks,
            f"{told}: the file does not say; where it was trained with using_znorm, say "
            "--choice=direction, and with another quant_resi it is not supported",
        )
    )


def _phi(arrays: autoencoder.Arrays) -> list[str]:
    """The names of the convolutions, whichever of the three ways they are shared by."""
    if num_phi := autoencoder.count(arrays, PARTLY_SHARED):
        return [f"{SHARED}_ls.{index}" for index in range(num_phi)]
    if any(name.startswith(f"{SHARED}.") for name in arrays):
        return [SHARED]
    num_phi = autoencoder.count(arrays, NOT_SHARED)
    return [f"quantize.quant_resi.{index}" for index in range(num_phi)]
