"""RQ-VAE of kakaobrain/rq-vae-transformer: the tokenizer of a published checkpoint."""

import os

import numpy as np

from resgen_jax.convert import autoencoder, exports, rules
from resgen_jax.core import errors
from resgen_jax.quantizers import interface as quantizers

TABLES = r"quantizer\.codebooks\.(\d+)\..*"
SMOOTHING = 1e-5
# It follows from the other two: sums = vectors x smoothed counts.
IGNORED = (r"quantizer\.codebooks\.\d+\.embed_ema",)


def convert(
    path: str | os.PathLike, *, image_size: int = 256, has_separate_codebooks: bool = False
) -> exports.Export:
    """The tokenizer in a checkpoint of RQ-VAE; averaged weights where there are some.

    The file holds a copy of the shared codebook for each level: they have to be equal, unless
    `has_separate_codebooks`. Raises UserError for a file that does not fit as a whole.
    """
    arrays, where = autoencoder.read_state(path), str(path)
    model = autoencoder.spec_of(arrays, image_size, where)
    depth = autoencoder.count(arrays, TABLES)  # one that lacks its table, too
    if not depth:
        raise errors.UserError(f"{where} has no codebooks quantizer.codebooks.0.weight and so on")
    merge = rules.stacked if has_separate_codebooks else rules.equal

    def each(name: str) -> tuple[str, ...]:
        return tuple(f"quantizer.codebooks.{level}.{name}" for level in range(depth))

    first = next((name for name in each("weight") if name in arrays), each("weight")[0])
    rows, code_dim = autoencoder.table_size(arrays, first, where)
    num_tables = depth if has_separate_codebooks else 1
    shapes = {
        "networks": autoencoder.shapes_of(model),
        "tables": (num_tables, rows - 1, code_dim),
        "counts": (num_tables, rows - 1),
    }
    table = [
        *autoencoder.rules_of(model, "networks/"),
        rules.Rule("tables", each("weight"), lambda *found: _by_level(merge(*found))[:, :-1]),
        rules.Rule("counts", each("cluster_size_ema"), lambda *found: _by_level(merge(*found), 1)),
    ]
    try:
        found = rules.apply(table, arrays, shapes, where=where, ignored=IGNORED)
    except errors.UserError as failure:
        if "copies" in str(failure):
            raise errors.UserError(
                f"{failure}; if its levels have codebooks of their own, say so by "
                "--separate_codebooks"
            ) from failure
        raise
    quantizer = quantizers.Spec(
        code_dim=code_dim, depth=depth, codebook_size=rows - 1, smoothing=SMOOTHING
    )
    learner = "ema" if has_separate_codebooks else "shared_ema"
    statistics = {"counts": found["counts"], "sums": sums_of(found["tables"], found["counts"])}
    return exports.of_rq_vae(model, quantizer, learner, found["networks"], statistics)


def sums_of(tables: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums that give these vectors back when divided by the smoothed counts.

    Not the published sums: averages of weights need not be quotients of averaged statistics.
    """
    total = counts.sum(axis=-1, keepdims=True, dtype=np.float64)
    share = (counts + SMOOTHING) / (total + counts.shape[-1] * SMOOTHING + 1e-30)
    return (tables * (share * total)[..., None]).astype(np.float32)


def _by_level(array: np.ndarray, num_dimensions: int = 2) -> np.ndarray:
    return array if array.ndim > num_dimensions else array[None]
