"""ResGen on the codes of 5,000 of MNIST's digits: 4x4 positions of depth 8, ten classes.

    resgen encode --workdir=runs/mnist_tokenizer --output=runs/mnist_codes --num_crops=5
    resgen train --config=configs/generators/resgen_mnist.py \\
        --config.data.codes=runs/mnist_codes --workdir=runs/mnist_generator

Expect of seed 0 (`bash launch/demo.sh`; 329 s of CPU time on two cores of an Intel Xeon): held-out
nats of a code at levels 0, 1, 2, ..., 7, all coarser ones visible: 2.90, 3.34, 3.49, 3.63, 3.74,
3.97, 4.15, 4.31 (a guess costs 4.85), and at most 3.65 a code of whole digits; 97.0 % of 1,000
samples are taken for the class asked for, at 0.63 of the variety of real digits.

`:paper` trains the paper's two-part bound alone, `:tiny` takes a few steps of a small network.

The head is `:levels`; `:mixture`, `:codes` and `:flow` train another (docs/choices.md).
"""

import ml_collections

from resgen_jax.configs import resgen
from resgen_jax.core import build


def get_config(arg: str = "") -> ml_collections.ConfigDict:
    """The config; `arg` holds any of the words above, with commas between them."""
    words = build.words(arg, resgen.WORDS)
    config = resgen.base()
    config.data.batch_size = 64
    # All four together were ahead of each method without them (comparisons/mnist_options.py).
    config.model.trunk.update(
        norm="rms", has_gated_mlp=True, activation="silu", mlp_width=344, normalises_queries=True
    )
    config.optimizer.update(learning_rate=3e-3, warmup_steps=100, matrices="muon")
    config.train = dict(num_steps=1200, log_every=25, evaluate_every=500, checkpoint_every=500)
    config.sampler.guidance_scale = 2.0
    resgen.apply(config, words, tiny_batch=16)
    return config
