"""Options of trunk, optimizer and level head on the codes of 5,000 digits, at nearly equal size.

    resgen scale compare --config=comparisons/mnist_options.py --config.codes=runs/mnist_codes \\
        --workdir=runs/mnist_options --features=mobilenet --judge=runs/mnist_judge

The codes, steps and samples are those of `mnist.py`. A gated MLP has three matrices, so it is two
thirds as wide. `:seeds` trains three seeds of each, `:tiny` takes a few steps of small networks.
"""

from typing import Any

import ml_collections

from resgen_jax.configs import comparison
from resgen_jax.core import build

GATED = dict(has_gated_mlp=True, activation="silu", mlp_width=344)
RMS, QUERIES, MUON = dict(norm="rms"), dict(normalises_queries=True), dict(matrices="muon")


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The comparison; `arg` holds any of `seeds` and `tiny`."""
    words = build.words(arg, {"seeds", "tiny"})
    config = comparison.begin(words)
    if "tiny" not in words:
        comparison.train_on_digits(config)
    make = comparison.Methods("mnist", [1.0, 2.0], "tiny" in words)

    def levels(trunk: dict | None = None, sum_noise: float = 0.0, **sections: Any) -> dict:
        method = make.resgen(4, "levels", levels=dict(sum_noise=sum_noise))
        if "tiny" not in words:
            model = method["fields"]["model"]
            model["trunk"].update(trunk or {})
            model.update(sections.pop("model", {}))
            method["fields"].update(sections)
        return method

    config.methods = {
        "plain": levels(),
        "rms_norm": levels(RMS),
        "gated_mlp": levels(GATED),
        "normalised_queries": levels(QUERIES),
        "muon": levels(optimizer=MUON),
        "all_four": levels({**RMS, **GATED, **QUERIES}, optimizer=MUON),
        "noisy_sums": levels(sum_noise=0.5),
        "code_loss": levels(model=dict(has_code_head=True), loss=dict(code_loss_weight=1.0)),
    }
    return config
