"""Heads and counterparts on the codes of one tokenizer: equal steps, batch and nearly equal size.

    resgen train --config=tokenizers/rq_vae_cifar10.py --config.data.path=CIFAR10 \\
        --config.quantizer.depth=8 --config.quantizer.codebook_size=256 \\
        --config.train.num_steps=5000 --config.adversarial.start_step=3000 \\
        --config.loss.weights=WEIGHTS --workdir=runs/cifar10_depth8
    resgen encode --workdir=runs/cifar10_depth8 --output=runs/cifar10_codes8 --flip
    resgen evaluate --write_judge=runs/judge --images=CIFAR10 --image_size=32
    resgen scale compare --config=comparisons/cifar10.py --config.codes=runs/cifar10_codes8 \\
        --workdir=runs/comparison --features=mobilenet --judge=runs/judge

Every method trains for 2,000 steps of 64 on two views of 50,000 images, so it sees each view about
once. An auxiliary code head counts in its size where sampling asks it.
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
        config.fields = dict(
            loss=dict(average_decay=0.995),
            optimizer=dict(learning_rate=2e-3, warmup_steps=100),
            train=dict(num_steps=2000, evaluate_every=500, num_held_out_batches=64),
        )
    make = comparison.Methods("cifar10", [1.0, 2.0], "tiny" in words)
    config.methods = {
        "mixture": make.resgen(4, "mixture"),
        "codes": make.resgen(5, "codes"),
        "levels": make.resgen(4, "levels", levels=dict(width=64)),
        "rq_transformer": make.of("rq_transformer", "guided", model=dict(num_body_layers=5)),
        "level_by_level": make.of("level_by_level"),
        # Its sampling does not ask the code head, which therefore does not count.
        "ar_resgen": make.of("ar_resgen", model=dict(num_layers=6, num_components=72)),
        "flow": make.resgen(4, "flow", flow=dict(width=96)),
        "paper": make.resgen(5, "paper", num_components=96),
    }
    return config
