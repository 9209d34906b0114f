"""Heads and counterparts on the codes of 5,000 digits: what `cifar10.py` does, in minutes a method.

    resgen train --config=tokenizers/rq_vae_mnist.py --workdir=runs/mnist_tokenizer
    resgen encode --workdir=runs/mnist_tokenizer --output=runs/mnist_codes --num_crops=5
    resgen scale compare --config=comparisons/mnist.py --config.codes=runs/mnist_codes \\
        --workdir=runs/mnist_comparison --features=mobilenet --judge=runs/mnist_judge

Every method trains for 1,200 steps of 64 on six views of 4,500 digits, so it sees each view 2.8
times. An auxiliary code head counts in its size where sampling asks it.
`:seeds` trains three seeds of each, `:tiny` takes a few steps of small networks.
"""

import ml_collections

from resgen_jax.configs import comparison
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The comparison; `arg` holds any of `seeds` and `tiny`."""
    words = build.words(arg, {"seeds", "tiny"})
    config = comparison.begin(words)
    if "tiny" not in words:
        comparison.train_on_digits(config)
    make = comparison.Methods("mnist", [1.0, 2.0], "tiny" in words)
    config.methods = {
        "mixture": make.resgen(4, "mixture"),
        "codes": make.resgen(5, "codes"),
        "levels": make.resgen(4, "levels"),
        "rq_transformer": make.of("rq_transformer", "guided"),
        "level_by_level": make.of("level_by_level"),
        "ar_resgen": make.of("ar_resgen", model=dict(num_layers=6, num_components=48)),
        "flow": make.resgen(4, "flow", flow=dict(width=96)),
        "paper": make.resgen(5, "paper"),
    }
    return config
