"""RQ-VAE of kakaobrain/rq-vae-transformer: the tokenizer of a published checkpoint."""

import os

import numpy as np

from resgen_jax.convert import autoencoder, exports, rules
from resgen_jax.core import errors, trees
from resgen_jax.quantizers import codebook_averages
from resgen_jax.quantizers import interface as quantizers

TABLES = r"quantizer\.codebooks\.(\d+)\..*"
SMOOTHING = 1e-5
# What the words of the original's config come to here, for those who train on.
TRAINING = (
    "loss: the original commits to the mean over levels of every prefix, loss.commitment=prefix "
    "here (total, the default, takes the whole sum; the paper adds levels up, depth times as much)",
    "dead codes: the original restarts a code whose decayed count is under 1; here "
    "quantizer.restart_threshold is a share of the mean count of its level",
    "a shared codebook: the original moves it after each level of a step, by a decay each; here "
    "shared_ema moves it once a step, at about that pace with quantizer.decay=decay**depth",
)
# It follows from the other two: sums = vectors x smoothed counts.
IGNORED = (r"quantizer\.codebooks\.\d+\.embed_ema",)


def convert(
    path: str | os.PathLike, *, image_size: int = 256, has_separate_codebooks: bool = False
) -> exports.Export:
    """The tokenizer in a checkpoint of RQ-VAE; averaged weights where there are some.

    The file holds a copy of the shared codebook for each level: they have to be equal, unless
    `has_separate_codebooks`. How often codes were used only matters to further training: counts
    that would not give the codebook back become 1, which the export's remarks tell. What the
    original's config says of its training means something else here, see `TRAINING`. Raises
    UserError for a file that does not fit as a whole.
    """
    (arrays, remarks), where = autoencoder.read_state(path), str(path)
    model = autoencoder.spec_of(arrays, image_size, where)
    depth = autoencoder.count(arrays, TABLES)  # one that lacks its table, too
    if not depth:
        raise errors.UserError(f"{where} has no codebooks quantizer.codebooks.0.weight and so on")
    merge = rules.stacked if has_separate_codebooks else rules.equal

    def each(name: str) -> tuple[str, ...]:
        return tuple(f"quantizer.codebooks.{level}.{name}" for level in range(depth))

    first = next((name for name in each("weight") if name in arrays), each("weight")[0])
    rows, code_dim = autoencoder.table_size(arrays, first, model, where)
    num_tables = depth if has_separate_codebooks else 1
    shapes = {
        "networks": autoencoder.shapes_of(model),
        "tables": (num_tables, rows - 1, code_dim),
        "counts": (num_tables, rows - 1),
    }
    table = [
        *autoencoder.rules_of(model, "networks/"),
        rules.Rule("tables", each("weight"), lambda *found: _by_level(merge(*found))[:, :-1]),
        rules.Rule(
            "counts",
            each("cluster_size_ema"),
            lambda *found: _by_level(merge(*found), 1),
            must_be_finite=False,
        ),
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
    statistics = statistics_of(found["tables"], found["counts"])
    for level, (given, kept) in enumerate(zip(found["counts"], statistics["counts"], strict=True)):
        if not np.array_equal(given, kept):
            total = given.sum(dtype=np.float64)
            remarks += (
                f"{each('cluster_size_ema')[level]} counts to {total:g}, which gives no codebook "
                "back: the codebook is kept, and each of its codes counts as 1",
            )
    export = exports.of_rq_vae(model, quantizer, learner, found["networks"], statistics)
    return export._replace(remarks=remarks)


def statistics_of(tables: np.ndarray, counts: np.ndarray) -> dict[str, np.ndarray]:
    """Counts and sums that give these vectors back; a level's counts become 1 where they cannot."""
    kept = []
    for table, given in zip(tables, counts, strict=True):
        try:
            kept.append((given, sums_of(table, given)))
        except errors.UserError:
            ones = np.ones_like(given)
            kept.append((ones, sums_of(table, ones)))
    counts, sums = (np.stack(parts) for parts in zip(*kept, strict=True))
    return {"counts": counts, "sums": sums}


def sums_of(tables: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums that give these vectors back when divided by the smoothed counts.

    Not the published sums: averages of weights need not be quotients of averaged statistics. Raises
    UserError for counts that give nothing back: negative or not finite, all zero, or out of
    float32's reach.
    """
    with np.errstate(all="ignore"):
        total = counts.sum(axis=-1, keepdims=True, dtype=np.float64)
        share = (counts + SMOOTHING) / (total + counts.shape[-1] * SMOOTHING + 1e-30)
        sums = (tables * (share * total)[..., None]).astype(np.float32)
    stats = trees.stand_in(
        codebook_averages.CodebookStats, counts=_by_level(counts, 1), sums=_by_level(sums)
    )
    found = np.asarray(codebook_averages.codebooks_from(stats, SMOOTHING))
    is_back = np.allclose(found, tables, rtol=0, atol=1e-5 * np.abs(tables).max())
    if not is_back or not (np.isfinite(counts) & (counts >= 0)).all():
        raise errors.UserError(
            f"counts from {counts.min()} to {counts.max()} give no codebook back; expected finite "
            "ones of 0 and more that are not all 0"
        )
    return sums


def _by_level(array: np.ndarray, num_dimensions: int = 2) -> np.ndarray:
    return array if array.ndim > num_dimensions else array[None]
